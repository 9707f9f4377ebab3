// What the GPU and what computes on it are, in words.
#include <cstring>

#include "../cpu/core.h"
#include "memory.h"

using namespace graft;

/** cuda:describe(Uint8Array): the length of a text put there, lines: name, compute capability, multiprocessors, bytes of memory, CUDA version of the driver, of NVRTC. */
GRAFT_EXPORT_AS("cuda:describe", cudaDescribe) {
  const cuda::Device& d = cuda::device();
  int driver = 0, major = 0, minor = 0;
  cuda::check(cuda::driver().cuDriverGetVersion(&driver), "the driver's version");
  if (cuda::compiler().nvrtcVersion(&major, &minor) != 0) fail("cuda: NVRTC says no version");
  size_t available = 0, total = 0;
  cuda::check(cuda::driver().cuMemGetInfo_v2(&available, &total), "the GPU's memory");
  const std::string text = d.name + "\n" + std::to_string(d.major) + "." + std::to_string(d.minor) + "\n" + std::to_string(d.processors) + "\n" + std::to_string(total) + "\n" +
                           std::to_string(driver / 1000) + "." + std::to_string(driver % 1000 / 10) + "\n" + std::to_string(major) + "." + std::to_string(minor);
  int64_t room = 0;
  void* to = args.typedArray(0, room);
  if (int64_t(text.size()) > room) fail("cuda:describe: %lld bytes are too few", static_cast<long long>(room));
  std::memcpy(to, text.data(), text.size());
  args.returns(double(text.size()));
}
