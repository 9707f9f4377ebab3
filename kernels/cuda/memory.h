// What a device kernel's launcher stands on. One operation end to end: scale.cu has the KERNEL, scale.cc
//
//     #include "memory.h"
//     using namespace graft;
//     static cuda::Kernel kernel("scale", "scale");
//     GRAFT_CUDA(scale) {                             // takes graft-cpu's place of the same name, with the same arguments
//       const int64_t n = call.count(0);
//       const Pointer x = call.f32(0), y = call.outF32(1, n);
//       launch(kernel, {blocks(n, 256)}, 256, 0, x, y, float(call.number(2)), Index(n));
//     }
#pragma once

#include <memory>
#include <type_traits>
#include <vector>

#include "../cpu/core.h"
#include "device.h"
#include "types.h"

namespace graft {

struct Mirror;
namespace cuda {
void forgetLoan(Mirror& m);  // offload.h
}

struct Mirror {
  cuda::Pointer pointer;
  int64_t bytes = 0;
  bool onHost = false, onDevice = false;  // who has the values; nobody, as long as they are not set
  bool weight = false;                    // of a mapped file: the GPU's copy is kept beside it
  cuda::Pointer narrowed;                 // of a weight, its values in bf16 as products or convolutions read them
  int64_t narrowedBytes = 0;
  cuda::Pointer coded;                    // of a coded weight, its codes
  int64_t codedBytes = 0;
  const Coded* codedOf = nullptr;
  const int64_t born = made()++;
  bool lent = false;                      // of a mapped file: on the GPU only while it is used (offload.h)
  Mirror() = default;
  ~Mirror() {
    if (lent) cuda::forgetLoan(*this);
    forget();
    forgetCodes();
    cuda::release(narrowed, narrowedBytes);
    cuda::counters().weights -= narrowedBytes;
  }
  /** Gives the GPU's copy up; the host has the values. */
  void forget() {
    cuda::release(pointer, bytes);
    if (weight && pointer) cuda::counters().weights -= bytes;
    pointer = {};
    onDevice = false;
  }
  /** How many there have been. */
  static int64_t& made() {
    static int64_t n = 0;
    return n;
  }
  /** Whether the values, or what stands for them, are on the GPU at this place. */
  bool has(cuda::Pointer p) const { return (p.address == pointer.address && onDevice) || p.address == narrowed.address || p.address == coded.address; }
  void forgetCodes() {
    cuda::release(coded, codedBytes);
    if (coded) cuda::counters().weights -= codedBytes;
    coded = {};
  }
  Mirror(const Mirror&) = delete;
  Mirror& operator=(const Mirror&) = delete;
};

namespace cuda {

/** The buffer's values on the GPU, in their own storage; with `write` the host's are out of date from then on. */
Pointer toDevice(Buffer& b, bool write);

/** The arguments of one call, with buffers on the GPU. */
class Call : public Args {
 public:
  explicit Call(const Args& args) : Args(args) {}
  ~Call();
  Buffer& buffer(int i) const { return graft::buffer(handle(i)); }
  Storage storage(int i) const { return buffer(i).storage; }
  bool isFloat(int i) const { return storage(i) != Storage::I32 && storage(i) != Storage::BOOL; }
  /** Whatever its storage is. */
  Pointer input(int i) const { return toDevice(buffer(i), false); }
  /** As float32: in place, else widened into memory of this call. */
  Pointer f32(int i);
  Pointer f32(int i, int64_t n);
  /** The same, or null where the argument is missing. */
  Pointer f32OrNull(int i, int64_t n) { return none(i) ? Pointer() : f32(i, n); }
  Pointer i32(int i) const;
  Pointer boolean(int i) const;
  /** The values of an int32 argument on the host, for a look before the GPU reads them. Waits where they are the result of a kernel. */
  const int32_t* hostI32(int i) const { return Args::i32(i); }
  /** Outputs, as Args has them; what they held is still there. */
  Pointer outF32(int i, int64_t n) const { return output(i, Storage::F32, n); }
  Pointer outI32(int i, int64_t n) const { return output(i, Storage::I32, n); }
  Pointer outBool(int i, int64_t n) const { return output(i, Storage::BOOL, n); }
  /** Of any storage. */
  Pointer output(int i, int64_t n) const;
  /** Memory until the call ends. */
  Pointer temporary(int64_t bytes);
  Pointer floats(int64_t n) { return temporary(n * 4); }
  /** Host values in such memory. */
  Pointer sent(const void* values, int64_t bytes);

 private:
  Pointer output(int i, Storage storage, int64_t n) const;
  std::vector<std::pair<Pointer, int64_t>> temporaries_;
};

/** The values in bf16 of argument i, a frozen matrix, from its codes; null where weights are not coded, or it is not frozen. */
Pointer decoded(Call& call, int i, int64_t rows, int64_t columns);

}  // namespace cuda

#define GRAFT_EXPORT_AS(text, name)                                                            \
  static void graftExport_##name(graft::Args& args);                                           \
  static const bool graftRegistered_##name = graft::registerExport(text, graftExport_##name);  \
  static void graftExport_##name([[maybe_unused]] graft::Args& args)

#define GRAFT_CUDA(name)                                   \
  static void graftCuda_##name(graft::cuda::Call& call);   \
  GRAFT_EXPORT_AS("cuda:" #name, cuda_##name) {            \
    graft::cuda::Call call(args);                          \
    graftCuda_##name(call);                                \
    if (call.hasResult) args.returns(call.result);         \
  }                                                        \
  static void graftCuda_##name([[maybe_unused]] graft::cuda::Call& call)

}  // namespace graft
