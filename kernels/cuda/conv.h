// Shared by conv.cc and conv.cu.
#pragma once

#include "tile.h"
#include "types.h"

/** As cpu/conv-geometry.h has it: NHWC images, filters HWIO or OIHW, groups. */
struct Conv { int B, H, W, C, KH, KW, OH, OW, O, sh, sw, pt, pl, dh, dw, G, hwio, unused; };

/** Where a filter's values lie, in elements from one to the next; `column`: of the channels there are results for, `channel`: of those summed over. */
struct FilterLayout { Index group, column, tap, channel; int storage, unused; };
