// Shared by conv.cc and conv.cu.
#pragma once

#include "tile.h"
#include "types.h"

/** As cpu/conv-geometry.h has it: NHWC images, filters HWIO or OIHW, groups. */
struct Conv { int B, H, W, C, KH, KW, OH, OW, O, sh, sw, pt, pl, dh, dw, G, hwio, unused; };
