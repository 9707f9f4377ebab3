// Shared by pooling.cc and pooling.cu.
#pragma once

/** As cpu/pooling.h has it: windows over NHWC images. */
struct Pool { int B, H, W, C, KH, KW, OH, OW, sh, sw, pt, pl, dh, dw; };
