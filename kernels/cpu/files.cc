// What node's file system functions lack: advisory locks, and two names exchanged at once.
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
