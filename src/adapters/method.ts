import type { Tensor, Tensor2D, Tensor4D, Variable } from '@graft/kernels';
import type { Model } from '../models/model.js';
import type { AttentionCall, Pass, Site, SiteCall, Tokens } from '../models/site.js';
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
}

/** `kaiming`: U(±1/√fanIn), PyTorch's kaiming_uniform(a=√5). `base`: the frozen tensor of the same name. */
export type Init =
  | { kind: 'zeros' } | { kind: 'ones' } | { kind: 'constant'; value: number }
  | { kind: 'kaiming'; fanIn: number } | { kind: 'normal'; std: number } | { kind: 'truncated-normal'; std: number } | { kind: 'uniform'; bound: number }
  | { kind: 'base'; tensor: string };

/** The parameters of one site, by the suffix their ParamSpec gave; shared ones by their whole name. */
export type Params = Record<string, Variable | Tensor>;

/** A change of a weight that is linear in it, in PyTorch's orientation: ΔW = scale · B A (plus, for convolutions, reshaped). */
export interface LowRankChange { A: Tensor2D; B: Tensor2D; scale: number }

/** What a method is given about the run between the backward pass and the optimiser step, and after it. */
export interface StepCall {
  step: number;
  totalSteps: number;
  params: ReadonlyMap<string, Variable>;
  /** By parameter name. A hook may replace entries (set) to mask or rescale them. */
  grads: Map<string, Tensor>;
  /** Adds, replaces (growing or shrinking) or removes a trained tensor; its optimiser state follows. */
  setParam(name: string, value: Tensor | null, options?: Pick<ParamSpec, 'decay' | 'lrScale'>): void;
  log(event: Record<string, unknown>): void;
}

/**
 * A published method of adaptation: one object in one file. It names the sites it acts at, the tensors it owns there, and
 * implements only the hooks it needs. C is its configuration (the parsed values of `options`).
 */
export interface Method<C extends OptionValues = OptionValues> {
  name: string;
  summary: string;
  paper: Paper | null;
  options: OptionSpecs;
  /** The sites the method acts at. @throws GraftError when a target matches nothing. */
  sites(model: Model, config: C): Site[];
  /** The tensors it owns at one site. */
  params(site: Site, config: C, model: Model): ParamSpec[];
  /** Tensors shared by several sites, and whole checkpoint tensors it replaces (named as in the checkpoint). */
  shared?(model: Model, config: C, sites: Site[]): ParamSpec[];

  /** The linear change of the weight at linear, convolution and embedding sites: run fused, and merged exactly. */
  weightChange?(site: Site, p: Params, config: C): LowRankChange;
  /** A frozen weight that replaces the base's at this site for the whole run (PiSSA's residual, a mask); computed once. */
  rebase?(site: Site, W: Tensor, p: Params, config: C): Tensor;
  /** Any other change of the site's output. */
  change?(call: SiteCall, p: Params, config: C): Tensor;
  attention?(call: AttentionCall, p: Params, config: C): Tensor4D;
  tokens?(tokens: Tokens, p: Params, config: C, pass: Pass): Tokens;
  /** Added to the training loss (scalar). */
  penalty?(params: ReadonlyMap<string, Tensor>, config: C): Tensor | null;

  /** Why `merge` must refuse; absent where the change is exact in the weights. */
  unmergeable?: string;
  afterBackward?(call: StepCall, config: C): void;
  afterStep?(call: StepCall, config: C): void;
  /** Rewrites the finished tensors for storage, e.g. flattening a reparametrised prefix. */
  finish?(tensors: Map<string, Tensor>, config: C): Map<string, Tensor>;
}
