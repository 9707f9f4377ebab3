/** One piece of work that graft and its peers both do; what it is is said in full, so that either side can do it alone. */
export type Work = { name: string; flop?: number; /** Read at least, where memory is the limit. */ bytes?: number; /** f32 where it is not said; graft in f32 is then one more side. */ precision?: 'bf16' } & (
  /** C[m, n] = op(A) op(B); ta, tb: stored transposed; so many times. frozen: B is a mapped weight. */
  | { kind: 'product'; m: number; k: number; n: number; ta?: boolean; tb?: boolean; times: number; frozen?: boolean }
  /** One optimiser step for each batch, a list of its texts' lengths in tokens, or one on so many images: LoRA, or everything. */
  | ({ kind: 'train'; model: string; batches: number[][]; images?: number; /** Pixels along theirs; default SIDE. */ side?: number; full?: boolean } & Training)
  | { kind: 'evaluate'; model: string; batches: number[][] }
  /** So many tokens after a prompt of 16, greedily; one text, or `rows` of them together. */
  | { kind: 'generate'; model: string; tokens: number; rows?: number }
  /** Bytes moved from one buffer to another: what memory allows. */
  | { kind: 'copy'; bytes: number }
  /** One step of test-time adaptation of a CIFAR ResNet (one file), or of a Hugging Face one, on a batch of images. */
  | { kind: 'tta'; weights: string; method: string; batch: number; size: number; options?: Record<string, number> }
  /** A LoRA of every linear layer started from the weights, or from so many batches of texts; the whole command, as graft has it. */
  | { kind: 'init'; model: string; method: 'pissa' | 'eva' | 'corda'; rank: number; start: string; data: string; batches: number[][] }
);

export interface Training {
  /** Of the LoRA; default 8. */
  rank?: number;
  /** LoRA at every linear layer of the blocks, not at query and value alone. */
  everywhere?: boolean;
  /** Default: classify, into six. */
  task?: 'clm';
  /** Gradient checkpointing: blocks are computed again on the way back. */
  recompute?: boolean;
  /** How frozen weights lie in memory; default: as the checkpoint has them. */
  stored?: 'nf4';
}

/** Pixels along a side of what ViT and ResNet-50 read. */
export const SIDE = 224;

/** Multiplications and additions of a text encoder's forward pass: d wide, `inner` inside the feed-forward layers. */
export function encoderFlop({ d, inner, layers }: { d: number; inner: number; layers: number }, batches: number[][]): number {
  const tokens = batches.flat().reduce((a, b) => a + b, 0), pairs = batches.flat().reduce((a, b) => a + b * b, 0);
  return layers * (2 * tokens * (4 * d * d + 2 * d * inner) + 4 * pairs * d);
}

/** The same of a Llama-like decoder with its head: keys and values of `shared` of the d channels, gated feed-forward layers, each token seeing those before it. */
export function decoderFlop({ d, shared, inner, layers, vocabulary }: { d: number; shared: number; inner: number; layers: number; vocabulary: number }, batches: number[][]): number {
  const tokens = batches.flat().reduce((a, b) => a + b, 0), pairs = batches.flat().reduce((a, b) => a + b * b, 0);
  return layers * (2 * tokens * (2 * d * d + 2 * d * shared + 3 * d * inner) + 2 * pairs * d) + 2 * tokens * d * vocabulary;
}
