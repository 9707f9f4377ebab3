// Sums over the processes of one run, through TCP: every rank sends to rank 0, which adds up in the order of ranks, so that all get the same
// bytes, and sends the sum back.
#include "ranks.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>

#include "core.h"

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

namespace graft {
namespace {

/** What a rank says first, and what precedes every message: its bytes, or -1 - r where rank r has ended. */
struct Hello { int32_t magic = 0x67726166, rank = 0, size = 0, reserved = 0; int64_t run = 0; };

int own = 0;
std::vector<int> sockets;  // by rank; of ranks other than 0 only the one to rank 0

using Clock = std::chrono::steady_clock;

bool sendAll(int socket, const void* from, int64_t bytes) {
  for (auto* p = static_cast<const char*>(from); bytes > 0;) {
    const auto n = ::send(socket, p, size_t(bytes), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    p += n, bytes -= n;
  }
  return true;
}

bool receiveAll(int socket, void* to, int64_t bytes) {
  for (auto* p = static_cast<char*>(to); bytes > 0;) {
    const auto n = ::recv(socket, p, size_t(bytes), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    p += n, bytes -= n;
  }
  return true;
}

void prepare(int socket) {
  const int yes = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);
}

void closeAll() {
  for (const int s : sockets)
    if (s >= 0) ::close(s);
  sockets.clear();
}

struct Addresses {
  addrinfo* list = nullptr;
  Addresses(const std::string& host, int port, bool listening) {
    addrinfo wanted = {};
    wanted.ai_socktype = SOCK_STREAM;
    wanted.ai_flags = listening ? AI_PASSIVE : 0;
    if (const int status = getaddrinfo(host.empty() ? nullptr : host.c_str(), std::to_string(port).c_str(), &wanted, &list)) fail("ranks: %s: %s", host.c_str(), gai_strerror(status));
  }
  ~Addresses() { freeaddrinfo(list); }
};

/** Waits for the others to call. */
void gather(int size, const std::string& host, int port, int64_t run, Clock::time_point until) {
  const bool here = host == "localhost" || host.compare(0, 4, "127.") == 0;
  const Addresses at(here ? host : "", port, true);
  const int door = ::socket(at.list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
  setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (door < 0 || ::bind(door, at.list->ai_addr, at.list->ai_addrlen) != 0 || ::listen(door, size) != 0) {
    const int reason = errno;
    ::close(door);
    fail("ranks: port %d cannot be listened on (%s): set MASTER_PORT to a free one", port, std::strerror(reason));
  }
  for (int missing = size - 1; missing > 0;) {
    pollfd waiting = {door, POLLIN, 0};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
    if (left <= 0 || (::poll(&waiting, 1, int(left)) == 0)) {
      int first = 1;
      while (sockets[size_t(first)] >= 0) first++;
      ::close(door);
      closeAll();
      fail("ranks: rank %d of %d did not come to port %d", first, size, port);
    }
    const int s = ::accept(door, nullptr, nullptr);
    if (s < 0) continue;
    prepare(s);
    Hello hello;
    const timeval patience = {5, 0}, forever = {0, 0};
    setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    const bool spoke = receiveAll(s, &hello, sizeof hello) && hello.magic == Hello().magic;
    setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof forever);
    const bool fits = spoke && hello.size == size && hello.rank > 0 && hello.rank < size && sockets[size_t(hello.rank)] < 0 && hello.run == run;
    const int32_t answer = fits ? 1 : 0;
    if (spoke) sendAll(s, &answer, sizeof answer);
    if (!fits) {
      ::close(s);
      if (!spoke) continue;  // a stranger
      ::close(door);
      closeAll();
      fail("ranks: rank %d has another command line or another number of ranks than rank 0", hello.rank);
    }
    sockets[size_t(hello.rank)] = s;
    missing--;
  }
  ::close(door);
}

/** Calls rank 0, again and again until it is there. */
void join(int rank, int size, const std::string& host, int port, int64_t run, Clock::time_point until) {
  const Addresses to(host, port, false);
  for (;;) {
    const int s = ::socket(to.list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s >= 0 && ::connect(s, to.list->ai_addr, to.list->ai_addrlen) == 0) {
      prepare(s);
      Hello hello;
      hello.rank = rank, hello.size = size, hello.run = run;
      int32_t answer = 0;
      if (sendAll(s, &hello, sizeof hello) && receiveAll(s, &answer, sizeof answer)) {
        if (!answer) {
          ::close(s);
          fail("ranks: rank %d has another command line or another number of ranks than rank 0", rank);
        }
        sockets[0] = s;
        return;
      }
    }
    ::close(s);
    if (Clock::now() > until) fail("ranks: rank 0 of %d is not at %s:%d", size, host.c_str(), port);
    usleep(50000);
  }
}

/** Reads one message of so many bytes. */
void receive(int rank, void* to, int64_t bytes) {
  int64_t announced = 0;
  if (!receiveAll(sockets[size_t(rank)], &announced, sizeof announced)) failForRank(rank);
  if (announced < 0) failForRank(int(-1 - announced));
  if (announced != bytes) fail("ranks: rank %d sends %lld bytes where %lld are due", rank, static_cast<long long>(announced), static_cast<long long>(bytes));
  if (!receiveAll(sockets[size_t(rank)], to, bytes)) failForRank(rank);
}

void send(int rank, const void* from, int64_t bytes) {
  if (!sendAll(sockets[size_t(rank)], &bytes, sizeof bytes) || !sendAll(sockets[size_t(rank)], from, bytes)) failForRank(rank);
}

template <class T>
void sum(T* values, int64_t n) {
  if (own != 0) return send(0, values, n * int64_t(sizeof(T))), receive(0, values, n * int64_t(sizeof(T)));
  std::vector<T> other(size_t(n), 0);
  for (int r = 1; r < int(sockets.size()); r++) {
    receive(r, other.data(), n * int64_t(sizeof(T)));
    for (int64_t i = 0; i < n; i++) values[i] += other[size_t(i)];
  }
  for (int r = 1; r < int(sockets.size()); r++) send(r, values, n * int64_t(sizeof(T)));
}

}  // namespace

void failForRank(int rank) {
  if (own == 0) {
    const int64_t gone = -1 - rank;
    for (int r = 1; r < int(sockets.size()); r++)
      if (r != rank && sockets[size_t(r)] >= 0) sendAll(sockets[size_t(r)], &gone, sizeof gone);
  }
  closeAll();
  fail("ranks: rank %d ended before the others", rank);
}

int rankGone() {
  for (int r = 0; r < int(sockets.size()); r++) {
    if (sockets[size_t(r)] < 0) continue;
    pollfd p = {sockets[size_t(r)], POLLIN, 0};
    if (::poll(&p, 1, 0) <= 0) continue;
    int64_t announced = 0;
    const auto n = ::recv(p.fd, &announced, sizeof announced, MSG_PEEK | MSG_DONTWAIT);
    if (n == int64_t(sizeof announced) && announced < 0) return int(-1 - announced);  // as rank 0 says
    if (n == 0 || (n < 0 && errno != EAGAIN)) return r;
  }
  return -1;
}

}  // namespace graft

/** ranksOpen(rank, size, host of rank 0, port, number of the run, seconds): connects the processes of a run. */
GRAFT_EXPORT(ranksOpen) {
  using namespace graft;
  closeAll();
  const int rank = int(args.integer(0)), size = int(args.integer(1));
  if (size < 1 || rank < 0 || rank >= size) fail("ranks: there is no rank %d of %d", rank, size);
  own = rank;
  sockets.assign(rank == 0 ? size_t(size) : 1, -1);
  const auto until = Clock::now() + std::chrono::seconds(args.integer(5));
  if (rank == 0) gather(size, args.text(2), int(args.integer(3)), args.integer(4), until);
  else join(rank, size, args.text(2), int(args.integer(3)), args.integer(4), until);
}

/** ranksSum(Float32Array or Float64Array, doubles?): in its place the sum over all ranks, the same bytes in each. */
GRAFT_EXPORT(ranksSum) {
  int64_t bytes = 0;
  void* values = args.typedArray(0, bytes);
  if (args.flag(1)) graft::sum(static_cast<double*>(values), bytes / 8);
  else graft::sum(static_cast<float*>(values), bytes / 4);
}

/** ranksShare(typedArray): rank 0's bytes in all. */
GRAFT_EXPORT(ranksShare) {
  using namespace graft;
  int64_t bytes = 0;
  void* values = args.typedArray(0, bytes);
  if (own != 0) return receive(0, values, bytes);
  for (int r = 1; r < int(sockets.size()); r++) send(r, values, bytes);
}

GRAFT_EXPORT(ranksClose) { graft::closeAll(); }
