import type { Tensor, Tensor1D, Tensor2D, Tensor4D } from '@graft/kernels';
import type { Forward } from './forward.js';
import type { Site } from './site.js';

/** Tokenised text. */
export interface TextBatch {
  kind: 'text';
  ids: Tensor2D; // int32 [B, T]
  mask: Tensor2D; // float32 [B, T], 1 = a token
  types?: Tensor2D; // int32 [B, T], segment ids
  /** Tokens of each row, where all of them stand before the padding. */
  lengths?: readonly number[];
}

/** Images with pixels in [0,1]; the model normalises them itself. */
export interface ImageBatch {
  kind: 'image';
  pixels: Tensor4D; // [B, H, W, 3]
}

/** Noisy images x_t, and under which condition their noise is predicted: the table's rows `ids`, or embeddings; no condition without either. */
export interface NoiseBatch {
  kind: 'noise';
  x: Tensor4D; // [B, H, W, channels], images in [-1, 1] at t = 0
  t: Tensor1D; // [B], the time of each
  ids?: Tensor2D; // int32 [B, T]
  context?: Tensor; // [B, T, d]
  mask?: Tensor2D; // [B, T], 1 = a condition
}

export type Batch = TextBatch | ImageBatch | NoiseBatch;

/** What a backbone computes. Prompt positions are already removed from `hidden` and `mask`. */
export interface Features {
  hidden: Tensor; // [B, T, d]; [B, H, W, C] for convolutional networks
  mask: Tensor2D | null;
  /** `hidden` holds those tokens alone that were asked for: [B, 1, d] of the first or last, [1, N, d] of N positions. */
  read?: true;
  /** What a head for dense predictions reads as well: maps of the early and the last stage, or the patches of some blocks, [B, h · w, d]. */
  stages?(): readonly Tensor[];
  /** [height, width] of the images: as large dense predictions are. */
  size?: readonly [number, number];
}

/** The tokens whose hidden states are read: the first or last of each text, or those at these of the B·T positions. */
export type Reads = 'first' | 'last' | Int32Array;

/** The task a model with its grafts performs. Its tensors carry the names the Hugging Face class with that head uses. */
export interface Head {
  task: 'classify' | 'tag' | 'mlm' | 'clm' | 'regress' | 'segment' | 'diffusion';
  /** Class or tag names, in index order; of a diffusion model the conditions it knows. */
  labels?: string[];
}

/** A tensor of a head, with the values it starts from; `checkpoint`: those the checkpoint holds. */
export interface HeadTensor { name: string; shape: number[]; init: 'normal' | 'zeros' | 'ones' | 'torch-linear' | 'checkpoint'; std?: number; /** Not trained: running statistics. */ fixed?: boolean }

/** An architecture read from its checkpoint: a forward pass over named sites. */
export interface Model {
  /** `model_type` of config.json. */
  readonly type: string;
  readonly input: 'text' | 'image' | 'noise';
  readonly hiddenSize: number;
  readonly layers: number;
  /** Text models: the longest sequence, special tokens and prompts included. */
  readonly maxLength?: number;
  /** Image models of fixed size: [height, width] in pixels. */
  readonly imageSize?: readonly [number, number];
  /** In execution order; a head's linear sites (role `head`) are there whether the checkpoint or a graft brings its tensors. */
  readonly sites: readonly Site[];
  /** Tensors that belong to no site: class tokens, position tables that are added whole. */
  readonly parameters: readonly { name: string; shape: number[] }[];
  /** The head the checkpoint itself brings, if any. */
  readonly head: Head | null;
  /** Default `target_modules` of low-rank methods, as PEFT has them. */
  readonly defaultTargets: readonly string[];
  /**
   * The tensors a graft with this head owns: those the checkpoint lacks, and its own last layers where it has the same head.
   * @throws GraftError (usage) for a task the architecture has no head for
   */
  headTensors(head: Head): HeadTensor[];
  /** What the head reads of the hidden states; everything where not said. */
  reads(head: Head): Reads | undefined;
  /** @param reads nothing else is wanted: a model may leave out what does not lead there, and says so in the features */
  backbone(f: Forward, batch: Batch, reads?: Reads): Features;
  /** classify: [B, C]; segment: [B, height, width, C]; tag: [B, T, C]; mlm and clm: [B, T, V]; diffusion: the noise, [B, H, W, channels]. */
  logits(f: Forward, features: Features, head: Head): Tensor;
}
