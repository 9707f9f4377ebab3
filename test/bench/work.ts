/** One piece of work that graft and its peers both do; what it is is said in full, so that either side can do it alone. */
export type Work = { name: string; flop?: number; /** Read at least, where memory is the limit. */ bytes?: number; /** f32 where it is not said; graft in f32 is then one more side. */ precision?: 'bf16' } & (
  /** C[m, n] = op(A) op(B); ta, tb: stored transposed; so many times. frozen: B is a mapped weight. */
  | { kind: 'product'; m: number; k: number; n: number; ta?: boolean; tb?: boolean; times: number; frozen?: boolean }
  /** One optimiser step for each batch, a list of its texts' lengths in tokens, or one on so many images: LoRA r=8 on query and value, or everything. */
  | { kind: 'train'; model: string; batches: number[][]; images?: number; full?: boolean }
  | { kind: 'evaluate'; model: string; batches: number[][] }
  /** So many tokens after a prompt of 16, one text, greedily. */
  | { kind: 'generate'; model: string; tokens: number }
  /** Bytes moved from one buffer to another: what memory allows. */
  | { kind: 'copy'; bytes: number }
  /** One step of test-time adaptation of a CIFAR ResNet (one file), or of a Hugging Face one, on a batch of images. */
  | { kind: 'tta'; weights: string; method: string; batch: number; size: number; options?: Record<string, number> }
);

/** Pixels along a side of what ViT and ResNet-50 read. */
export const SIDE = 224;

/** Multiplications and additions of a text encoder's forward pass: d wide, `inner` inside the feed-forward layers. */
export function encoderFlop({ d, inner, layers }: { d: number; inner: number; layers: number }, batches: number[][]): number {
  const tokens = batches.flat().reduce((a, b) => a + b, 0), pairs = batches.flat().reduce((a, b) => a + b * b, 0);
  return layers * (2 * tokens * (4 * d * d + 2 * d * inner) + 4 * pairs * d);
}
