// Element-wise operations in single and in double precision, for kernels.
#pragma once

#include "device.cuh"

#include "../common/operations.h"
#include "../common/element-values.h"

using graft::binaryValue;
using graft::unaryValue;
