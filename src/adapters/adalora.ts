import { Rng, tf, type Tensor, type Tensor2D } from '@graft/kernels';
import { usageError } from '../errors.js';
import { budgetAt, importance, masksFor, thresholdFor, type Triplets } from './adalora-budget.js';
import { orthogonality, owners } from './blocks.js';
import type { Method, StepCall } from './method.js';
import { targetOptions, targetSites, type Targets } from './targets.js';

export interface AdaloraConfig extends Targets {
  /** Rank at the start; the scale stays alpha / rank whatever is pruned. */
  rank: number;
  targetRank: number;
  alpha: number;
  dropout: number;
  tinit: number;
  tfinal: number;
  deltaT: number;
  beta1: number;
  beta2: number;
  orthogonality: number;
  mask: 'score' | 'sample';
  sampleRate: number;
  initE: number;
  /** Set when training ended: ranks stand, and only rows that survived are stored. */
  allocated?: boolean;
}

/**
 * AdaLoRA: ΔW = α/r · P Λ Q with P = lora_B [out, r], Λ = diag(lora_E) and Q = lora_A [r, in] (eq. 3), P and Q held orthogonal by a
 * penalty (eq. 4). Training lowers the total rank from r to the target at each site on a cubic schedule (eq. 12): the triplets
 * {P_k, λ_k, Q_k} of least importance (eqs. 7 to 11) get λ_k = 0 and may return until the last `tfinal` steps. λ = 0 at the start.
 * Lingo (Zhan et al., 2024, https://arxiv.org/abs/2402.08777) prunes at random: its adaptive rank sampling is the mask `sample`.
 */
const adalora: Method<AdaloraConfig> = {
  name: 'adalora',
  summary: 'low-rank change whose rank moves to where it matters (AdaLoRA)',
  factored: true,
  paper: { title: 'Adaptive Budget Allocation for Parameter-Efficient Fine-Tuning', authors: 'Zhang et al.', year: 2023, url: 'https://arxiv.org/abs/2303.10512' },
  options: {
    rank: { type: 'number', alias: 'r', metavar: 'N', default: 12, min: 1, describe: 'rank of every module at the start' },
    targetRank: { type: 'number', metavar: 'N', default: 8, min: 0, describe: 'mean rank of the modules at the end' },
    alpha: { type: 'number', default: 8, describe: 'scale: s = alpha / r' },
    dropout: { type: 'number', default: 0, min: 0, max: 1, describe: "dropout on the branch's input" },
    ...targetOptions,
    tinit: { type: 'number', metavar: 'N', default: 0, min: 0, describe: 'steps at full rank first' },
    tfinal: { type: 'number', metavar: 'N', default: 0, min: 0, describe: 'last steps, in which ranks stand' },
    deltaT: { type: 'number', metavar: 'N', default: 1, min: 1, describe: 'steps from one allocation to the next' },
    beta1: { type: 'number', default: 0.85, min: 0, max: 1, describe: 'decay of the mean sensitivity' },
    beta2: { type: 'number', default: 0.85, min: 0, max: 1, describe: 'decay of its mean deviation' },
    orthogonality: { type: 'number', default: 0.5, min: 0, describe: 'weight of the penalty that keeps P and Q orthogonal' },
    mask: { type: 'string', default: 'score', choices: ['score', 'sample'], describe: 'triplets of least importance go, or each then changes sides with the probability --sample-rate (Lingo)' },
    sampleRate: { type: 'number', default: 0.1, min: 0, max: 1, describe: 'the p of --mask sample' },
    initE: { type: 'number', default: 0, min: 0, describe: 'standard deviation λ starts with (Lingo: 0.02); above 0 the graft does not begin as the identity' },
  },

  resolve: (config, { model }) => ({ ...config, targetModules: config.targetModules?.length ? config.targetModules : defaultTargets(model.type) ?? [...model.defaultTargets] }),
  sites: (model, config) => targetSites(model, config, ['linear', 'conv']),

  params(site, { rank: r, initE }) {
    const n = site.dimIn * (site.conv?.kernel ?? []).reduce((a, b) => a * b, 1);
    return [
      { name: 'lora_A', shape: [r, n], init: { kind: 'normal', std: 0.02 }, elastic: true },
      { name: 'lora_E', shape: [r, 1], init: initE > 0 ? { kind: 'normal', std: initE } : { kind: 'zeros' }, elastic: true },
      { name: 'lora_B', shape: [site.dimOut, r], init: { kind: 'normal', std: 0.02 }, elastic: true },
    ];
  },

  weightChange: (_site, p, { alpha, rank }) => ({ A: tf.mul(p.lora_A, p.lora_E) as Tensor2D, B: p.lora_B as Tensor2D, scale: alpha / (rank + 1e-5) }),

  penalty: (params, config) => orthogonality(params, config.orthogonality),

  /** As PEFT does it: importance of the values just updated, by the gradients that updated them. */
  afterStep(call, config) {
    if (config.allocated) return;
    const { step, totalSteps: T } = call;
    const { tinit, tfinal, deltaT } = config;
    if (tinit >= T - tfinal) throw usageError(`adalora: --tinit ${tinit} and --tfinal ${tfinal} leave none of the ${T} steps to lower the rank in`);
    const sites = owners(call.params, 'lora_E');
    if (step > T - tfinal) return mask(call, sites, (site) => call.buffers.get(`${site}.${MASK}`));
    const last = step === T - tfinal;
    const triplets: Triplets = new Map(sites.map((site) => [site, importance(call, site, config, !last)]));
    const due = last || (step > tinit && step % deltaT === 0);
    if (!due) return;
    const full = sites.reduce((n, site) => n + call.params.get(`${site}.lora_E`)!.size, 0);
    const budget = budgetAt(step, T, full, config.targetRank * sites.length, config);
    if (budget >= full) return;
    const threshold = thresholdFor(triplets, full - budget);
    const p = config.mask === 'sample' ? config.sampleRate : 0;
    const masks = new Map(sites.map((site) => [site, masksFor(triplets.get(site)!, threshold, p, new Rng('sample', call.seed, step, site))]));
    mask(call, sites, (site) => masks.get(site)!.values);
    for (const [site, { pattern }] of masks) call.setBuffer(`${site}.${MASK}`, pattern);
    call.log({ budget });
  },

  /** Averages go, and rows whose λ is masked; the scale stays with the rank they began with. */
  finish(tensors, config) {
    const stored = new Map([...tensors].filter(([name]) => !/\.(rank_mask|sensitivity|uncertainty)$/.test(name)));
    for (const [name, m] of tensors) if (name.endsWith(`.${MASK}`)) prune(stored, name.slice(0, -MASK.length - 1), m);
    return { tensors: stored, config: stored.size < tensors.size ? { ...config, allocated: true } : config };
  },
};

export default adalora;

const MASK = 'rank_mask';

/** Where PEFT's choice is not LoRA's. */
const defaultTargets = (type: string): string[] | undefined => (type === 'roberta' ? ['query', 'key', 'value', 'dense'] : undefined);

function mask(call: StepCall, sites: readonly string[], of: (site: string) => Tensor | undefined): void {
  for (const site of sites) {
    const m = of(site), E = call.params.get(`${site}.lora_E`)!;
    if (m) call.setParam(`${site}.lora_E`, tf.mul(E, m));
  }
}

/** Leaves out the triplets that are masked and at zero. */
function prune(tensors: Map<string, Tensor>, site: string, m: Tensor): void {
  const [A, E, B] = ['lora_A', 'lora_E', 'lora_B'].map((name) => tensors.get(`${site}.${name}`)!);
  const values = E.dataSync(), kept = [...m.dataSync()].flatMap((keep, k) => (keep || values[k] !== 0 ? [k] : []));
  const rows = (t: Tensor, axis: number): Tensor => (kept.length === 0 ? tf.zeros(t.shape.map((n, i) => (i === axis ? 0 : n))) : tf.gather(t, tf.tensor1d(kept, 'int32'), axis));
  tensors.set(`${site}.lora_A`, rows(A, 0));
  tensors.set(`${site}.lora_E`, rows(E, 0));
  tensors.set(`${site}.lora_B`, rows(B, 1));
}
