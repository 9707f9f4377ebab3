// Shared by tile-bf16.cuh and the launchers of its kernels.
#pragma once

/** Rows and columns of C a block forms, and how much of the depth it has in shared memory at a time. */
constexpr int kTileRows = 128, kTileColumns = 64, kTileDepth = 32;
