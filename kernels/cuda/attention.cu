// Attention in single precision, and what a mask is to the kernels of attention.
#include "attention-forward.cuh"

/** bias = (1 - mask) · -1e9, and firstSure of each text from its first visible key. A block a text. */
KERNEL(256, keyBias, const float* mask, float* bias, Text* texts, int room) {
  const Index b = blockIdx.x;
  int visible = room;
  for (int j = int(threadIdx.x); j < room; j += 256) {
    const float m = mask[b * room + j];
    bias[b * room + j] = (1 - m) * kMasked;
    if (m == 1 && j < visible) visible = j;
  }
  visible = overBlock(visible, room, Smaller());
  const int sure = visible + texts[b].queries - room;
  if (threadIdx.x == 0) texts[b].firstSure = sure > 0 ? sure : 0;
}

ATTENTION_KERNEL(attention, Single, kForwardTiles)
