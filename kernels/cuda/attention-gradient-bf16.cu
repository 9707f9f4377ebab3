// The gradients of attention by products in bf16 on the tensor cores.
#include "attention-gradient.cuh"

ATTENTION_GRADIENT_KERNEL(attentionQueriesBf16, attentionKeysBf16, Bf16, kGradientTilesBf16)
