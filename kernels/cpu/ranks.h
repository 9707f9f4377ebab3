// The processes of one run, each with its rank, in a star around rank 0.
#pragma once

namespace graft {

/** A rank whose connection has ended, as far as this process sees; -1 where all are there. Does not wait. */
int rankGone();
/** Ends the run for all: the others are told. @throws Error that names the rank */
[[noreturn]] void failForRank(int rank);

}  // namespace graft
