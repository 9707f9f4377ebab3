// What is queued runs at once, unless it is being recorded.
#pragma once

#include <functional>
#include <vector>

namespace emulator {

using Work = std::function<int()>;

/** What is being recorded; null while nothing is. */
extern std::vector<Work>* recorded;

/** CUDA's code for what went wrong, 0 for work that is recorded. */
inline int queue(Work work) {
  if (!recorded) return work();
  recorded->push_back(std::move(work));
  return 0;
}

}  // namespace emulator
