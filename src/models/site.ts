import type { Tensor, Tensor1D, Tensor2D, Tensor4D } from '@graft/kernels';

/**
 * The places of a model's forward pass where an adapter may act. Unified view (He et al., 2022): a change is placed at a
 * site, reads the site's input or output, and is composed with what the frozen model computes there.
 */
export type SiteKind =
  | 'linear' // one dense weight: x [..., dimIn] → [..., dimOut]
  | 'conv' // one convolution: x [B, H, W, Cin] → [B, H', W', Cout]
  | 'embedding' // one table: int32 ids [...] → [..., dimOut]
  | 'norm' // one normalisation: x → x
  | 'attention' // per-head attention; see AttentionCall
  | 'attention.output' // the attention sub-layer's write, after its output projection, before the residual
  | 'ffn.output' // the feed-forward sub-layer's write, before the residual
  | 'block' // a whole layer with its residuals
  | 'tokens' // the token sequence that enters the first block; see TokensCall
  | 'pixels' // the input image in [0,1], before the model normalises it
  | 'logits'; // features → task logits

export interface Site {
  /** Module path in the checkpoint, e.g. `encoder.layer.0.attention.self.query`. With `kind` it is unique. */
  name: string;
  kind: SiteKind;
  /** Block index; -1 below the first block, the number of blocks above the last. Execution order never falls. */
  layer: number;
  /** What the module does in any architecture: query key value output up gate down patch pooler head self embed … */
  role: string;
  /** The task of the only head it belongs to; an architecture declares the modules of all its heads. */
  task?: 'segment';
  dimIn: number;
  /** 0 at the last layer of a head that only a graft brings. */
  dimOut: number;
  /** Names of the frozen tensors the module owns. Those of a `head` may be in the graft rather than in the checkpoint. */
  weight?: string;
  bias?: string;
  /** The stored weight is [in, out] (GPT-2's Conv1D). */
  transposed?: boolean;
  heads?: number;
  kvHeads?: number;
  headDim?: number;
  /** LayerNorm follows the residual addition (BERT) rather than preceding the sub-layer. */
  postNorm?: boolean;
  conv?: { kernel: [number, number]; stride: number; padding: number };
  /** The model's own rate of dropout: of the attention weights, or of what a sub-layer writes. */
  dropout?: number;
  /** Norm sites: with statistics per batch, per token, or per image and group of channels. */
  norm?: { type: 'batch' | 'layer' | 'rms' | 'group'; epsilon: number; groups?: number };
}

/** Weight and bias of a site in the layout the checkpoint stores them in. */
export interface Weights { W: Tensor; b: Tensor1D | null }

/** What a change at a site sees. `base` runs what lies beneath: the frozen map and the changes attached earlier. */
export interface SiteCall {
  site: Site;
  x: Tensor;
  base(x: Tensor): Tensor;
  /** At attention.output and ffn.output: the residual value that will be added afterwards. */
  stream?: Tensor;
  /** At attention.output and ffn.output of post-norm models: the norm that follows the addition. */
  norm?(t: Tensor): Tensor;
  /** At ffn.output: the activation between the two dense layers, once `base` has run. */
  mid?(): Tensor;
  pass: Pass;
}

export interface AttentionInput {
  q: Tensor4D; // [B, Tq, H, dh]
  k: Tensor4D; // [B, Tk, Hkv, dh]
  v: Tensor4D;
  keyMask: Tensor2D | null; // [B, Tk], 1 = attend
  causal: boolean;
  scale: number;
  /** Texts of these lengths stand one after another, B = 1, and each sees itself alone; keyMask is null then. */
  lengths?: readonly number[];
  /** So many queries of each text, where not all of its tokens ask. */
  queries?: readonly number[];
  /** How many keys of each row are there, where k and v have room for more. */
  filled?: readonly number[];
}

/** Keys and values of tokens that earlier passes read, so that a pass computes only what is new. */
export interface Past {
  /** How many tokens of each row were read; the next one's position, but for what grafts add to it. */
  readonly lengths: readonly number[];
  /** The attention of this pass over the earlier tokens too, whose keys it remembers with the new ones. */
  extend(site: string, input: AttentionInput): AttentionInput;
}

export interface AttentionCall {
  site: Site;
  input: AttentionInput;
  /** The frozen attention: [B, Tq, H, dh]. */
  base(input: AttentionInput): Tensor4D;
  /** The hidden states q, k and v were projected from. */
  x: Tensor;
  pass: Pass;
}

export interface Tokens {
  x: Tensor; // [B, T, d]
  mask: Tensor2D | null; // [B, T]
  /** Positions at the front that hold prompts rather than input. */
  prompts: number;
}

/** Facts about the forward pass under way, the same for every site. */
export interface Pass {
  /** Dropout and other noise act. */
  train: boolean;
  /** Seeds noise together with the site's name. */
  seed: number;
  step: number;
  /** Hidden states recorded so far by block site name, for side networks and distillation; empty unless asked for. */
  taps: Map<string, Tensor>;
  /** What changes leave for the method's `auxiliary`, under keys of their own; tensors live as long as the pass's result. */
  notes: Map<string, Tensor>;
  /** Where gated methods tell the weights [..., N] that their gates gave to tokens [...]; absent where nobody asks. */
  gates?: (site: Site, weights: Tensor) => void;
  /** Per-row routing keys, for methods that choose by task or domain, or by the conditions that an image is generated under, numbers of `labels`. */
  route: { task?: readonly string[]; domain?: readonly string[]; prompt?: readonly (readonly number[])[]; labels?: readonly string[] };
  /** A tensor of the model, by its checkpoint name, with any replacement by a graft. */
  weight(name: string): Tensor;
  /** The weights of a linear, convolution or embedding site, with what grafts replace and rewrite in them. */
  frozen(site: Site): Weights;
}
