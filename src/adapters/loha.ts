import { conv2d, dropout, linear, tf, type Tensor, type Tensor2D, type Tensor4D } from '@graft/kernels';
import type { Site, SiteCall } from '../models/site.js';
import { addLowRank } from './low-rank.js';
import type { Init, Method, Params, ParamSpec } from './method.js';
import { patternValue, targetOptions, targetSites, type Targets } from './targets.js';

/** What LoHa and LoKr have in common, named as in PEFT. */
export interface LycorisConfig extends Targets {
  rank: number;
  alpha: number;
  rankDropout: number;
  moduleDropout: number;
  effectiveConv: boolean;
  rankPattern?: readonly string[];
  alphaPattern?: readonly string[];
}

export const lycorisOptions = {
  rank: { type: 'number', alias: 'r', metavar: 'N', default: 8, min: 1, describe: 'rank r' },
  alpha: { type: 'number', default: 8, describe: 'scale: s = alpha / r' },
  rankDropout: { type: 'number', default: 0, min: 0, max: 1, describe: 'share of outputs without the change in a training step' },
  moduleDropout: { type: 'number', default: 0, min: 0, max: 1, describe: 'share of training steps in which a module goes without it' },
  effectiveConv: { type: 'boolean', default: false, describe: 'at convolutions, factors with a core over the window rather than of the flattened kernel' },
  ...targetOptions,
  rankPattern: { type: 'string', array: true, metavar: 'MODULE=R', describe: 'another rank for modules whose path is or ends with MODULE (a regular expression)' },
  alphaPattern: { type: 'string', array: true, metavar: 'MODULE=ALPHA', describe: 'another alpha, likewise' },
} as const satisfies Method['options'];

export const rankOf = (site: Site, c: LycorisConfig): number => patternValue(c.rankPattern, site.name, c.rank);
export const scaleOf = (site: Site, c: LycorisConfig): number => patternValue(c.alphaPattern, site.name, c.alpha) / rankOf(site, c);

/** A factor over the window is kept apart from those over channels. */
export const hasCore = (site: Site, { effectiveConv }: LycorisConfig): boolean => effectiveConv && site.conv !== undefined && site.conv.kernel.some((k) => k > 1);

export const kaiming = (fanIn: number): Init => ({ kind: 'kaiming', fanIn });

/**
 * LoHa: ΔW = s · (W1a W1b) ∘ (W2a W2b), of rank up to r² (FedPara, proposition 2); at convolutions, flattened or with cores over the
 * window (proposition 3). W2b = 0 at the start, the identity.
 */
const loha: Method<LycorisConfig> = {
  name: 'loha',
  summary: 'the Hadamard product of two low-rank matrices (LoHa)',
  factored: true,
  paper: { title: 'FedPara: Low-Rank Hadamard Product for Communication-Efficient Federated Learning', authors: 'Hyeon-Woo, Ye-Bin, Oh', year: 2021, url: 'https://arxiv.org/abs/2108.06098' },
  options: lycorisOptions,
  resolve: (config, { model }) => ({ ...config, targetModules: config.targetModules?.length ? config.targetModules : [...model.defaultTargets] }),
  sites: (model, config) => targetSites(model, config, ['linear', 'conv']),

  params(site, config) {
    const r = rankOf(site, config), core = hasCore(site, config);
    const n = core ? site.dimIn : inputsOf(site);
    const [fanA, fanT] = core ? [site.dimOut, r * site.conv!.kernel[0] * site.conv!.kernel[1]] : [r, 0];
    return (['hada_w1', 'hada_w2'] as const).flatMap((name, i): ParamSpec[] => [
      { name: `${name}_a`, shape: core ? [r, site.dimOut] : [site.dimOut, r], init: kaiming(fanA) },
      { name: `${name}_b`, shape: [r, n], init: i === 0 ? kaiming(n) : { kind: 'zeros' } },
      ...(core ? [{ name: `hada_t${i + 1}`, shape: [r, r, ...site.conv!.kernel], init: kaiming(fanT) }] : []),
    ]);
  },

  /** With ∘ taken over pairs of components, (W1a W1b) ∘ (W2a W2b) is one product of rank r²: B [out, r²] and A [r², in]. */
  weightChange(site, p, config) {
    const [one, two] = [factors(site, p, '1'), factors(site, p, '2')];
    const pairs = (x: Tensor, y: Tensor, axis: number): Tensor => tf.mul(tf.expandDims(x, axis), tf.expandDims(y, axis - 1));
    const B = tf.reshape(pairs(one.a, two.a, 2), [site.dimOut, -1]);
    const A = tf.reshape(pairs(one.b, two.b, 1), [-1, inputsOf(site)]);
    return { A: A as Tensor2D, B: B as Tensor2D, scale: scaleOf(site, config) };
  },

  tokenwise: true,
  change(call, p, config) {
    const { site } = call;
    const r = factors(site, p, '1').b.shape[0], n = inputsOf(site);
    const skinny = r * r * (site.dimOut + n) < site.dimOut * n;
    const delta = (h: Tensor): Tensor => (skinny ? addLowRank(site, h, call.x, loha.weightChange!(site, p, config)) : tf.add(h, whole(call, p, scaleOf(site, config))));
    return withLycorisDropout(call, config, true, delta);
  },
};

export default loha;

/** Columns of the weight as a matrix. */
const inputsOf = (site: Site): number => site.dimIn * (site.conv?.kernel ?? []).reduce((a, b) => a * b, 1);

/** a [out, r] and b [r, in·kh·kw]; a core is multiplied into b: b[i, (j k l)] = Σ_m t[i, m, k, l] w_b[m, j]. */
function factors(site: Site, p: Params, which: '1' | '2'): { a: Tensor2D; b: Tensor2D } {
  const a = p[`hada_w${which}_a`] as Tensor2D, b = p[`hada_w${which}_b`] as Tensor2D, t = p[`hada_t${which}`];
  if (!t) return { a, b };
  return { a: tf.transpose(a), b: withCore(t as Tensor4D, b) };
}

/** t [r, r, kh, kw] contracted with b [r, n] over its second axis, as [r, n·kh·kw]. */
export function withCore(t: Tensor4D, b: Tensor2D): Tensor2D {
  const [r, , kh, kw] = t.shape;
  const rows = tf.reshape(tf.transpose(t, [0, 2, 3, 1]), [r * kh * kw, r]) as Tensor2D;
  const product = tf.reshape(tf.matMul(rows, b), [r, kh, kw, b.shape[1]]);
  return tf.reshape(tf.transpose(product, [0, 3, 1, 2]), [r, -1]) as Tensor2D;
}

/** ΔW x with ΔW formed, where that is less work than r² components. */
function whole({ site, x }: SiteCall, p: Params, scale: number): Tensor {
  const [one, two] = [factors(site, p, '1'), factors(site, p, '2')];
  const delta = tf.mul(tf.mul(tf.matMul(one.a, one.b), tf.matMul(two.a, two.b)), scale) as Tensor2D;
  if (!site.conv) return linear(x, delta);
  const { kernel, stride, padding } = site.conv;
  return conv2d(x as Tensor4D, tf.reshape(delta, [site.dimOut, site.dimIn, ...kernel]) as Tensor4D, null, { stride, padding });
}

/**
 * base(x) with the change added by `delta`; in training some outputs, or a whole module, go without it (rank and module dropout).
 * @param rescale what is left counts for more, by the share that is
 */
export function withLycorisDropout(call: SiteCall, { rankDropout, moduleDropout }: LycorisConfig, rescale: boolean, delta: (h: Tensor) => Tensor): Tensor {
  const { site, pass } = call;
  const h = call.base(call.x);
  const y = delta(h);
  if (!pass.train || (rankDropout === 0 && moduleDropout === 0)) return y;
  const kept = (n: number, rate: number, what: string): Tensor => tf.cast(tf.greater(dropout(tf.ones([n]), rate, pass.seed, pass.step, `${site.name}.${what}`), 0), 'float32');
  const rows = rankDropout > 0 ? kept(site.dimOut, rankDropout, 'rank') : tf.ones([site.dimOut]);
  const mask = tf.mul(rescale && rankDropout > 0 ? tf.div(rows, tf.mean(rows)) : rows, moduleDropout > 0 ? kept(1, moduleDropout, 'module') : 1);
  return tf.add(h, tf.mul(tf.sub(y, h), mask));
}
