// What is done with the elements of a matrix product once they are summed.
#pragma once

#include "gemm.h"
#include "math.cuh"

/** Not inlined: an element of C is finished at many places of a kernel. */
NOT_INLINED float activated(int op, float x) { return unaryValue(op, x, 0.f, 0.f); }

struct Finish {
  float* c;
  const float *add, *bias;
  float* before;

  /** Writes element `at` of C, which lies in `column`. */
  void operator()(const Gemm& g, Index at, Index column, float sum) const {
    float value = g.alpha * sum + (add ? add[at] : 0.f) + (bias ? bias[column] : 0.f);
    if (before) before[at] = value;
    if (g.activation >= 0) value = activated(g.activation, value);
    c[at] = value;
  }
};
