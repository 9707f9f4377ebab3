// Shared by tile.cuh and the launchers of its kernels.
#pragma once

constexpr int kTile = 64, kDepth = 16;
