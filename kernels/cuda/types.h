// What launchers and kernels both know: this is compiled for the host and for the GPU.
#pragma once

typedef long long Index;

/** As graft::Storage of cpu/core.h. */
enum StoredAs { kF32 = 0, kI32 = 1, kBool = 2, kF16 = 3, kBf16 = 4 };
