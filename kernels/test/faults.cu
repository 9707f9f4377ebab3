// Kernels with the faults that the emulator must show, and a right one; prints what each gives.
#include <cstdio>
#include <cstdlib>

#include "../cuda/device.cuh"

/** y[i] = x[i] read through shared memory by another thread; `barrier` 0 leaves the barrier out. */
KERNEL(256, mirror, const float* x, float* y, int barrier) {
  SHARED(float, held, 256);
  held[threadIdx.x] = x[threadIdx.x];
  if (barrier) __syncthreads();
  y[threadIdx.x] = held[255 - threadIdx.x];
}

/** Every thread adds 1 to a counter; without the atomic all of a block add it to what they read before the barrier. */
KERNEL(64, count, int* counter, int atomic) {
  const int before = *counter;
  __syncthreads();
  if (atomic) atomicAdd(counter, 1);
  else *counter = before + 1;
}

/** Half of the threads come to the barrier of the block, the others to that of their warp. */
KERNEL(64, divergent, int* y) {
  if (threadIdx.x & 1) __syncthreads();
  else __syncwarp();
  y[threadIdx.x] = 1;
}

/** y = Σ x over a warp. */
KERNEL(32, warpSum, const float* x, float* y) { y[threadIdx.x] = overWarp(x[threadIdx.x], Add()); }

template <class... A>
static int run(const char* name, unsigned threads, A... arguments) {
  void* list[] = {&arguments...};
  return emulator::launch(*emulator::find("faults.cu", name), {2}, {threads}, 0, list);
}

int main() {
  float x[256], y[256];
  for (int i = 0; i < 256; i++) x[i] = float(i);
  const float* from = x;
  for (int barrier = 0; barrier < 2; barrier++) {
    float* to = y;
    run("kernel_mirror", 256, from, to, barrier);
    int wrong = 0;
    for (int i = 0; i < 256; i++) wrong += y[i] != float(255 - i);
    std::printf("mirror %d: %s\n", barrier, wrong ? "wrong" : "right");
  }
  for (int atomic = 0; atomic < 2; atomic++) {
    int counter = 0, *at = &counter;
    run("kernel_count", 64, at, atomic);
    std::printf("count %d: %s\n", atomic, counter == 128 ? "right" : "wrong");
  }
  int z[64], *out = z;
  std::printf("divergent: %d\n", run("kernel_divergent", 64, out));
  float* to = y;
  std::printf("warpSum: %d", run("kernel_warpSum", 32, from, to));
  std::printf(" %g %g\n", double(y[0]), double(y[31]));
}
