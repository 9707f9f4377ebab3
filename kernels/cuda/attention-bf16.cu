// Attention by products in bf16 on the tensor cores.
#include "attention-forward.cuh"

ATTENTION_KERNEL(attentionBf16, Bf16, kForwardTilesBf16)
