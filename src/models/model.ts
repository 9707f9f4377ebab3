import { tf, type Tensor, type Tensor2D, type Tensor4D } from '@graft/kernels';
import type { Forward } from './forward.js';
import type { Site } from './site.js';

/** Tokenised text. */
export interface TextBatch {
  kind: 'text';
  ids: Tensor2D; // int32 [B, T]
  mask: Tensor2D; // float32 [B, T], 1 = a token
  types?: Tensor2D; // int32 [B, T], segment ids
}

/** Images with pixels in [0,1]; the model normalises them itself. */
export interface ImageBatch {
  kind: 'image';
  pixels: Tensor4D; // [B, H, W, 3]
}

export type Batch = TextBatch | ImageBatch;

/** What a backbone computes. Prompt positions are already removed from `hidden` and `mask`. */
export interface Features {
  hidden: Tensor; // [B, T, d]; [B, H, W, C] for convolutional networks
  mask: Tensor2D | null;
}

/** The task a model with its grafts performs. Its tensors carry the names the Hugging Face class with that head uses. */
export interface Head {
  task: 'classify' | 'tag' | 'mlm' | 'clm' | 'regress';
  /** Class or tag names, in index order. */
  labels?: string[];
}

/** The tensors of a new head, with the values they start from. */
export interface HeadTensor { name: string; shape: number[]; init: 'normal' | 'zeros' | 'ones' | 'torch-linear'; std?: number }

/** An architecture read from its checkpoint: a forward pass over named sites. */
export interface Model {
  /** `model_type` of config.json. */
  readonly type: string;
  readonly input: 'text' | 'image';
  readonly hiddenSize: number;
  readonly layers: number;
  /** Text models: the longest sequence, special tokens and prompts included. */
  readonly maxLength?: number;
  /** Image models of fixed size: [height, width] in pixels. */
  readonly imageSize?: readonly [number, number];
  /** In execution order; a head's linear sites (role `head`) are there whether the checkpoint or a graft brings its tensors. */
  readonly sites: readonly Site[];
  /** The head the checkpoint itself brings, if any. */
  readonly head: Head | null;
  /** Default `target_modules` of low-rank methods, as PEFT has them. */
  readonly defaultTargets: readonly string[];
  /** The tensors a new head needs that the checkpoint lacks. */
  headTensors(head: Head): HeadTensor[];
  backbone(f: Forward, batch: Batch): Features;
  /** classify: [B, C]; tag: [B, T, C]; mlm and clm: [B, T, V]. */
  logits(f: Forward, features: Features, head: Head): Tensor;
}

/** The hidden states without the first n positions (prompts). */
export function dropFirst(h: Tensor, n: number): Tensor {
  return n === 0 ? h : tf.slice(h, [0, n, 0], [-1, -1, -1]);
}

/** Class names by index: id2label of config.json, or numbers. */
export function classNames(config: Record<string, unknown>, count: number): string[] {
  const names = (config.id2label ?? {}) as Record<string, string>;
  return Array.from({ length: count }, (_, i) => names[i] ?? `LABEL_${i}`);
}
