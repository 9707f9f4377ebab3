import type { Tensor, Tensor1D, Tensor2D, Tensor4D } from '@graft/kernels';
import type { Paper } from '../adapters/method.js';
import type { OptionSpecs, OptionValues } from '../options.js';
import type { Source } from './network.js';

/** A method while it adapts. Batches hold pixels in [0,1]; labels, domains and future batches never reach it. */
export interface Adaptation {
  /**
   * Predicts one batch and adapts to it. Called within a tf.tidy; what it keeps it must tf.keep.
   * @param pixels [B, H, W, 3] in [0, 1]
   * @param others the images of the method's further `columns`, in their order
   * @returns logits [B, C]: of the forward pass before this step's update, unless the method says otherwise
   */
  step(pixels: Tensor4D, others?: readonly Tensor4D[]): Tensor2D;
  /** Everything that later steps depend on, by name; restoring it goes on as if never stopped. */
  state(): Map<string, Tensor>;
  restore(state: ReadonlyMap<string, Tensor>): void;
  /** The tensors of the base that the method changed, by checkpoint name: what `--save-graft` writes. */
  learnt(): Map<string, Tensor>;
  /** What it learnt beside the base's tensors, as a graft of another method than `full`: then `--save-graft` writes that. */
  graft?(): { method: string; config: Record<string, unknown>; tensors: Map<string, Tensor> };
  dispose(): void;
}

/** Images of the source domain: [B, H, W, 3] in [0, 1], and what they show, int32 [B], where the data says so for all of them; the domain of each for methods that ask. */
export interface SourceBatch { pixels: Tensor4D; labels?: Tensor1D; domains?: readonly string[] }

/** What a method learnt from the source domain beforehand, by name. */
export type Prepared = ReadonlyMap<string, Tensor>;

/** A published method of test-time adaptation: one object in one file. */
export interface TtaMethod<C extends OptionValues = OptionValues> {
  name: string;
  summary: string;
  paper: Paper | null;
  options: OptionSpecs;
  /** What it learns beforehand from the images in the option `sourceData`, where that is given. */
  prepare?(source: Source, batches: readonly SourceBatch[], config: C, seed: number): Map<string, Tensor>;
  /** It treats the pixels of dense predictions as the rows of a batch: the logits it takes and returns are [B · H · W, C]. */
  dense?: boolean;
  /** Columns of the data that hold further images of every row. */
  columns?: readonly string[];
  /** It cannot do without `prepare`. */
  needsSource?: boolean;
  /** `prepare` reads the labels. */
  labelled?: boolean;
  /** `prepare` reads the domains. */
  domains?: boolean;
  /** @param prepared what `prepare` returned */
  start(source: Source, config: C, seed: number, prepared?: Prepared): Adaptation;
}
