// By which the ordinary C++ compiler builds the same .cu sources (-include emulator.h): blocks run one after another in random order,
// the threads of a block as fibers that are switched, in random order, at barriers and warp exchanges. A missing barrier, a race or a
// read of memory that nobody wrote shows as a wrong result; a barrier that not every thread reaches is reported.
#pragma once

#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace emulator {

struct Dim3 { unsigned x = 1, y = 1, z = 1; };

/** A kernel: how to call it with the driver's list of pointers to arguments, and the kinds of its parameters (kindOf). */
struct Kernel {
  const char *file, *name, *kinds;
  const unsigned* sizes;  // of the parameters, in bytes
  void (*invoke)(void** arguments);
  unsigned threads;
};

bool add(const Kernel& kernel);
const Kernel* find(const char* file, const char* name);
/** 0, or CUDA's code for what went wrong. */
int launch(const Kernel& kernel, Dim3 grid, Dim3 block, unsigned sharedBytes, void** arguments);

// --- what a thread sees -------------------------------------------------------------------------------------------------------

extern Dim3 threadIndex, blockIndex, blockSize, gridSize;

/** Waits until every thread of the block is here. */
void blockBarrier();
/** Waits until every lane of the warp in `mask` is here. */
void warpBarrier(unsigned mask);
/** Gives `bytes` (at most 64) to the other lanes of the warp; returns what each gave, 64 bytes a lane. */
const char* exchange(unsigned mask, const void* value, unsigned bytes);
/** Memory of the block for the declaration `key`, full of NaNs when the block begins. */
void* shared(const void* key, unsigned bytes);
void* dynamicShared();

template <class T>
struct KindOf { static constexpr char value = std::is_pointer<T>::value ? 'p' : std::is_class<T>::value ? 's' : std::is_floating_point<T>::value ? (sizeof(T) == 8 ? 'd' : 'f') : sizeof(T) == 8 ? 'l' : 'i'; };

template <class... A>
struct Signature {
  static constexpr char kinds[] = {KindOf<A>::value..., 0};
};

template <auto f>
struct Caller;
template <class... A, void (*f)(A...)>
struct Caller<f> {
  static constexpr const char* kinds = Signature<A...>::kinds;
  static constexpr unsigned sizes[] = {sizeof(A)..., 0};
  template <unsigned... i>
  static void at(void** arguments, std::integer_sequence<unsigned, i...>) { f(*static_cast<std::remove_const_t<A>*>(arguments[i])...); }
  static void invoke(void** arguments) { at(arguments, std::make_integer_sequence<unsigned, sizeof...(A)>()); }
};

/** A sum over ranks waits for one that is gone: nothing queued behind it gets ready. */
extern bool neverReady;

}  // namespace emulator

#define KERNEL(threads, name, ...)                                                                                            \
  static void kernel_##name(__VA_ARGS__);                                                                                     \
  static const bool emulated_##name =                                                                                         \
      emulator::add({__FILE__, "kernel_" #name, emulator::Caller<&kernel_##name>::kinds, emulator::Caller<&kernel_##name>::sizes, \
                     emulator::Caller<&kernel_##name>::invoke, threads}); \
  static void kernel_##name(__VA_ARGS__)
#define SHARED(type, name, count)                                                                                             \
  static char key_##name;                                                                                                     \
  type* const name = static_cast<type*>(emulator::shared(&key_##name, unsigned(sizeof(type) * (count))))
#define DYNAMIC_SHARED(type, name) type* const name = static_cast<type*>(emulator::dynamicShared())

#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__ __restrict
#define threadIdx emulator::threadIndex
#define blockIdx emulator::blockIndex
#define blockDim emulator::blockSize
#define gridDim emulator::gridSize

inline void __syncthreads() { emulator::blockBarrier(); }
inline void __syncwarp(unsigned mask = ~0u) { emulator::warpBarrier(mask); }

template <class T>
T emulatedShuffle(unsigned mask, T value, unsigned lane) {
  static_assert(std::is_arithmetic<T>::value, "CUDA shuffles numbers alone");
  const char* all = emulator::exchange(mask, &value, sizeof(T));
  std::memcpy(&value, all + (lane & 31) * 64, sizeof(T));
  return value;
}
inline unsigned emulatedLane() { return (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) & 31; }
template <class T>
T __shfl_sync(unsigned mask, T value, int lane) { return emulatedShuffle(mask, value, unsigned(lane)); }
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int with) { return emulatedShuffle(mask, value, emulatedLane() ^ unsigned(with)); }
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned by) { return emulatedShuffle(mask, value, emulatedLane() + by > 31 ? emulatedLane() : emulatedLane() + by); }
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned by) { return emulatedShuffle(mask, value, emulatedLane() < by ? emulatedLane() : emulatedLane() - by); }
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  const char* all = emulator::exchange(mask, &predicate, sizeof predicate);
  unsigned out = 0;
  for (unsigned lane = 0; lane < 32; lane++) {
    int of;
    std::memcpy(&of, all + lane * 64, sizeof of);
    if ((mask >> lane & 1) && of) out |= 1u << lane;
  }
  return out;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) == mask; }

template <class T>
T atomicAdd(T* at, T value) { const T old = *at; *at = old + value; return old; }
template <class T>
T atomicMax(T* at, T value) { const T old = *at; if (value > old) *at = value; return old; }
template <class T>
T atomicMin(T* at, T value) { const T old = *at; if (value < old) *at = value; return old; }
template <class T>
T atomicExch(T* at, T value) { const T old = *at; *at = value; return old; }
template <class T>
T atomicCAS(T* at, T expected, T value) { const T old = *at; if (old == expected) *at = value; return old; }

inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline float __expf(float x) { return expf(x); }
inline int __float_as_int(float x) { int i; std::memcpy(&i, &x, 4); return i; }
inline unsigned __float_as_uint(float x) { unsigned i; std::memcpy(&i, &x, 4); return i; }
inline float __uint_as_float(unsigned i) { float x; std::memcpy(&x, &i, 4); return x; }
inline float __int_as_float(int i) { float x; std::memcpy(&x, &i, 4); return x; }
