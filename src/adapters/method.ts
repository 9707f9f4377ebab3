import type { Rng, Tensor, Tensor1D, Tensor2D, Tensor4D, Variable } from '@graft/kernels';
import type { Model } from '../models/model.js';
import type { AttentionCall, Pass, Site, SiteCall, Tokens, Weights } from '../models/site.js';
import type { OptionSpecs, OptionValues } from '../options.js';

export interface Paper { title: string; authors: string; year: number; url?: string }

/** A tensor of a graft. */
export interface ParamSpec {
  /** Appended to the site's name, e.g. `lora_A.weight`; for shared parameters and replacements the whole name. */
  name: string;
  shape: number[];
  init: Init;
  /** Default true. Buffers (masks, statistics, the start of PiSSA) are stored but not trained. */
  trainable?: boolean;
  /** Default true; false: exempt from weight decay. */
  decay?: boolean;
  /** Multiplies the learning rate. Default 1. */
  lrScale?: number;
  /** Steps done when training added it: the learning-rate schedule, warm-up included, begins there for it. Default 0. */
  since?: number;
  /** Training may resize it: a stored graft may bring any shape. */
  elastic?: boolean;
  /** Drawn from its `init`, which needs no base, wherever the graft is put to use; a stored graft leaves it out. */
  regenerated?: boolean;
}

/**
 * `kaiming`: U(±1/√fanIn), PyTorch's kaiming_uniform(a=√5). `truncated-normal`: cut at 2σ. `base`: a frozen tensor, whole.
 * `rows`: rows of a frozen table, as many as the tensor has, at `ids` (repeated as needed) or, without ids, at random.
 * `norms`: the L2 norms of a site's frozen weight, one an output. `torch-uniform`: what PyTorch's generator with that seed draws in
 * ±bound after it drew `skip` numbers. `from-weight`: any function of a frozen tensor as stored, which the method knows; integers are stored
 * as such.
 */
export type Init =
  | { kind: 'zeros' } | { kind: 'ones' } | { kind: 'constant'; value: number }
  | { kind: 'kaiming'; fanIn: number } | { kind: 'normal'; std: number } | { kind: 'truncated-normal'; std: number } | { kind: 'uniform'; bound: number }
  | { kind: 'base'; tensor: string } | { kind: 'rows'; tensor: string; ids?: readonly number[] }
  | { kind: 'norms'; site: Site } | { kind: 'torch-uniform'; bound: number; seed: number; skip: number }
  | { kind: 'from-weight'; tensor: string; values(W: Float32Array, rng: Rng): Float32Array | Int32Array };

/** Names and shapes of the base's tensors, as a checkpoint's headers give them. */
export interface TensorShapes {
  names(): Iterable<string>;
  /** Undefined for a tensor the base lacks. */
  shape(name: string): readonly number[] | undefined;
}

/** The parameters of one site, by the suffix their ParamSpec gave; shared ones by their whole name. */
export type Params = Record<string, Variable | Tensor>;

/**
 * A low-rank change of a site's weight: ΔW = scale · B A, Δb = scale · bias. W is [out, in] at linear sites (GPT-2's transposed
 * ones are transposed back by graft), [Cout, Cin·kh·kw] at convolutions and the table [V, d] at embeddings.
 */
export interface LowRankChange { A: Tensor2D; B: Tensor2D; scale: number; bias?: Tensor1D }

/** What a method is given about the run between the backward pass and the optimiser step, and after it. */
export interface StepCall {
  step: number;
  totalSteps: number;
  params: ReadonlyMap<string, Variable>;
  /** By parameter name. A hook may replace entries (set) to mask or rescale them. */
  grads: Map<string, Tensor>;
  /** ∂L/∂ΔW by the name of the site, as LowRankChange lays ΔW out, without penalties; for methods with `weightGradients`. */
  weightGrads: ReadonlyMap<string, Tensor>;
  /** The run's, for what a hook draws. */
  seed: number;
  /** What the optimiser multiplies every gradient by (clipping); known in afterStep, 1 before. */
  gradScale: number;
  /**
   * Adds, replaces (growing or shrinking) or removes a trained tensor; its optimiser state follows. What is added under a site's name
   * joins the Params of that site for the rest of the run.
   */
  setParam(name: string, value: Tensor | null, options?: Pick<ParamSpec, 'decay' | 'lrScale' | 'since'>): void;
  /**
   * Stored tensors that are not trained: masks, averages, scores a method keeps between steps. They survive a resume. `params` need
   * not name those that only hooks read; `finish` then leaves them out.
   */
  buffers: ReadonlyMap<string, Tensor>;
  setBuffer(name: string, value: Tensor | null): void;
  log(event: Record<string, unknown>): void;
}

/** What a method is given of a training batch for terms of the loss that look at what the model computed. */
export interface AuxiliaryCall {
  /** The pass of the batch, the outputs of all blocks in its taps. */
  pass: Pass;
  /** The same batch through the model without this graft, not recorded for gradients. */
  teacher(): Pass;
  /** Which positions of a text batch [B, T] hold tokens; null for images. */
  mask: Tensor2D | null;
  /** The graft's sites with their parameters. */
  sites: ReadonlyMap<Site, Params>;
}

/** What a method may ask when its configuration is completed. */
export interface Context {
  model: Model;
  /** Token ids of a text, without special tokens. */
  tokenize?(text: string): number[];
}

/**
 * A published method of adaptation: one object in one file. It names the sites it acts at, the tensors it owns there, and
 * implements only the hooks it needs. C is its configuration (the parsed values of `options`).
 *
 * How the families use it (each is written out as a toy in test/adapters/families.test.ts):
 * - bottleneck, prompt, prefix: `params` per site and `change`, `tokens`, `attention`;
 * - low-rank: `weightChange`, run fused and merged exactly; a rewritten start (PiSSA) adds `rebase`;
 * - masked and hypernetwork-generated weights: `reweight`, on the tape, and `penalty` for sparsity;
 * - rescaled (IA³, DoRA), Kronecker: `change` on activations and `fold` to merge it;
 * - shared and hypernetwork: `shared` tensors, in the Params of every site by their whole name;
 * - routed: `change` mixing with `call.pass.route`; side networks: `taps` and `change` at the logits site;
 * - growing, pruning, momentum: `afterBackward` and `afterStep` with setParam and buffers;
 * - pixel prompts and norm statistics: `change` at pixels and norm sites;
 * - gated: `change` leaves the logits of its gates in `call.pass.notes`, where `auxiliary` finds them, and tells their weights to `call.pass.gates`;
 * - distilled from the frozen model: `auxiliary`, which sees the blocks of both;
 * - full, bias and head tuning: `replaced` alone.
 */
export interface Method<C extends OptionValues = OptionValues> {
  name: string;
  summary: string;
  paper: Paper | null;
  options: OptionSpecs;
  /** Completes a new graft's configuration: defaults that depend on the model, presets. What it returns is stored. */
  resolve?(config: C, context: Context): C;
  /** The sites the method acts at. @throws GraftError when a target matches nothing. */
  sites(model: Model, config: C): Site[];
  /** The tensors it owns at one site. */
  params(site: Site, config: C, model: Model): ParamSpec[];
  /** Tensors that several sites share; the hooks find them in their Params by whole name. */
  shared?(model: Model, config: C, sites: Site[]): ParamSpec[];
  /** Whole tensors of the checkpoint it replaces, named as there; also biases the checkpoint lacks. */
  replaced?(model: Model, config: C, base: TensorShapes): ParamSpec[];

  /** The linear change of the weight at linear, convolution and embedding sites: merged exactly, and run fused unless there is a `change`. */
  weightChange?(site: Site, p: Params, config: C): LowRankChange;
  /** A frozen weight that takes the place of W, as stored, for the whole run (PiSSA's residual); computed once. */
  rebase?(site: Site, W: Tensor, p: Params, config: C): Tensor | undefined;
  /** The weight as a differentiable function of W and p, computed in every pass (masks, DoRA). */
  reweight?(site: Site, W: Tensor, p: Params, config: C): Tensor;
  /** Any other change of the site's output, or a cheaper way to run `weightChange`. */
  change?(call: SiteCall, p: Params, config: C): Tensor;
  /**
   * `change` as one of the weights, for `merge`: `now`, which holds the changes of earlier grafts, with this one folded in.
   * `frozen` is what the pass calls so: without them.
   */
  fold?(site: Site, now: Weights, frozen: Weights, p: Params, config: C): Weights;
  attention?(call: AttentionCall, p: Params, config: C): Tensor4D;
  tokens?(tokens: Tokens, p: Params, config: C, pass: Pass): Tokens;
  /** Added to the position of every token (a prefix that counts as text before it). Default 0. */
  positionOffset?(config: C): number;
  /** `change` treats every token alone, whichever row it is in: padding may then be left out, and tokens come as [1, N, d]. */
  tokenwise?: boolean;
  /** What the method's gates choose from for every token, in the order of their weights. */
  gated?(config: C): readonly string[];
  /** The outputs of all blocks are recorded in `pass.taps`. */
  taps?: boolean;
  /** Added to the training loss (scalar). */
  penalty?(params: ReadonlyMap<string, Tensor>, config: C): Tensor | null;

  /** Hooks are given `weightGrads`, whose cost is that of a full backward pass at the method's sites. */
  weightGradients?: boolean;
  /** Added to the training loss of every batch (scalar), in the share that the batch has in the step. */
  auxiliary?(call: AuxiliaryCall, config: C): Tensor | null;

  /** The change is a product of its tensors: the mean of the tensors of several grafts is not the mean of their changes. */
  factored?: boolean;
  /** Why `merge` must refuse; absent where the change is exact in the weights. */
  unmergeable?: string | ((config: OptionValues) => string | undefined);
  afterBackward?(call: StepCall, config: C): void;
  afterStep?(call: StepCall, config: C): void;
  /** The finished tensors and configuration as stored, e.g. a reparametrised prefix flattened. */
  finish?(tensors: Map<string, Tensor>, config: C): { tensors: Map<string, Tensor>; config: C };
}
