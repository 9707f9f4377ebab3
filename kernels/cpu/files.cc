// What node's file system functions lack: advisory locks, two names exchanged at once, copies within the kernel, and writing back early.
#include <fcntl.h>
#include <sys/file.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "core.h"

/** fileLock(fd): 1 with an exclusive flock until the descriptor is closed, 0 where another open file has it, -1 where the file system knows none. */
GRAFT_EXPORT(fileLock) {
  const int done = flock(int(args.integer(0)), LOCK_EX | LOCK_NB);
  args.returns(done == 0 ? 1 : errno == EWOULDBLOCK ? 0 : -1);
}

/** fileExchange(a, b): 1 when each path names what the other did, in one step; 0 where the system or the file system cannot. */
GRAFT_EXPORT(fileExchange) {
  const std::string a = args.text(0), b = args.text(1);
  int done = -1;
#if defined(__linux__) && defined(SYS_renameat2)
  constexpr unsigned kExchange = 1 << 1;
  done = int(syscall(SYS_renameat2, AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), kExchange));
#elif defined(__APPLE__)
  done = renamex_np(a.c_str(), b.c_str(), RENAME_SWAP);
#endif
  args.returns(done == 0 ? 1 : 0);
}

/**
 * fileCopy(from, offset, to, length): bytes from `offset` of one descriptor, appended where the other stands, within the kernel. How many
 * were copied: fewer where something is in the way (another file system, no space, the end), which reading and writing will tell.
 */
GRAFT_EXPORT(fileCopy) {
  int64_t done = 0;
#if defined(__linux__) && defined(SYS_copy_file_range)
  const int from = int(args.integer(0)), to = int(args.integer(2));
  const int64_t length = args.integer(3);
  long long offset = args.integer(1);
  while (done < length) {
    const long n = syscall(SYS_copy_file_range, from, &offset, to, nullptr, size_t(length - done), 0u);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += n;
  }
#endif
  args.returns(double(done));
}

/** fileWriteBack(fd, offset, length): the disk begins to write these bytes; whoever asks for them to be there later waits less. */
GRAFT_EXPORT(fileWriteBack) {
#if defined(__linux__) && defined(SYNC_FILE_RANGE_WRITE)
  sync_file_range(int(args.integer(0)), args.integer(1), args.integer(2), SYNC_FILE_RANGE_WRITE);
#endif
}
