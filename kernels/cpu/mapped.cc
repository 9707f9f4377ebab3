// Read-only mapped files.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>

#include "core.h"

namespace graft {

struct Region {
  char* data = nullptr;
  int64_t bytes = 0;
  ~Region() {
    if (data) munmap(data, size_t(bytes));
    counters().mapped -= bytes;
  }
};

namespace {
std::map<int32_t, std::shared_ptr<Region>>& openFiles() {
  static auto* files = new std::map<int32_t, std::shared_ptr<Region>>();
  return *files;
}
int32_t nextFile = 0;

std::shared_ptr<Region> map(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail("%s: %s", path.c_str(), std::strerror(errno));
  auto region = std::make_shared<Region>();
  struct stat status;
  const bool known = fstat(fd, &status) == 0;
  void* data = known && status.st_size > 0 ? mmap(nullptr, size_t(status.st_size), PROT_READ, MAP_PRIVATE, fd, 0) : nullptr;
  const int reason = errno;
  ::close(fd);
  if (!known || data == MAP_FAILED) fail("%s: %s", path.c_str(), std::strerror(reason));
  region->data = static_cast<char*>(data);
  region->bytes = status.st_size;
  counters().mapped += region->bytes;
  return region;
}
}  // namespace

void forgetPages(const Buffer& x) {
  const uintptr_t page = uintptr_t(sysconf(_SC_PAGESIZE)), begin = reinterpret_cast<uintptr_t>(x.data), end = begin + uintptr_t(x.count * sizeOf(x.storage));
  const uintptr_t first = (begin + page - 1) / page * page, last = end / page * page;
  if (x.region && first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

}  // namespace graft

/** mapOpen(path): a file number. */
GRAFT_EXPORT(mapOpen) {
  auto region = graft::map(args.text(0));
  graft::openFiles()[graft::nextFile] = region;
  args.returns(graft::nextFile++);
}

/** mapTensor(file, offset, count, storage): a handle to values that stay in the file. */
GRAFT_EXPORT(mapTensor) {
  const auto file = graft::openFiles().find(args.handle(0));
  if (file == graft::openFiles().end()) graft::fail("mapTensor: the file is closed");
  const int64_t offset = args.integer(1), count = args.integer(2);
  const int64_t code = args.integer(3);
  const auto storage = graft::Storage(code);
  if (storage != graft::Storage::F32 && storage != graft::Storage::F16 && storage != graft::Storage::BF16) graft::fail("mapTensor: no mapped storage %lld", static_cast<long long>(code));
  const int64_t size = graft::sizeOf(storage);
  if (offset < 0 || count < 0 || count > (file->second->bytes - offset) / size || offset > file->second->bytes) graft::fail("mapTensor: beyond the end of the file");
  if ((reinterpret_cast<uintptr_t>(file->second->data) + uint64_t(offset)) % uint64_t(size)) graft::fail("mapTensor: offset %lld is not aligned", static_cast<long long>(offset));
  auto b = std::make_unique<graft::Buffer>();
  b->data = file->second->data + offset;
  b->count = count;
  b->storage = storage;
  b->region = file->second;
  args.returns(graft::adoptBuffer(std::move(b)));
}

/** mapClose(file): buffers over it stay valid. */
GRAFT_EXPORT(mapClose) { graft::openFiles().erase(args.handle(0)); }
