import { scoped, tf, type Tensor } from '@graft/kernels';
import { entropy } from './losses.js';
import type { TtaMethod } from './method.js';
import { STORED } from './statistics.js';

/** A feature that stands for a class. */
export interface Support { feature: ArrayLike<number>; entropy: number; class: number }

/**
 * T3A (Iwasawa & Matsuo, 2021): each class is a template, the sum of its supports, which start with its row of the classifier and are
 * joined by the features predicted as it; those of the lowest entropy stay (equations 4 to 6). No gradient. The logits are the inner
 * products with the templates, those of the batch at hand included.
 */
const t3a: TtaMethod<{ supports: number }> = {
  name: 't3a',
  summary: 'the classifier\'s rows replaced by templates of confident features',
  paper: { title: 'Test-Time Classifier Adjustment Module for Model-Agnostic Domain Generalization', authors: 'Iwasawa, Matsuo', year: 2021, url: 'https://openreview.net/forum?id=e_yvNqkJKAW' },
  options: { supports: { type: 'number', metavar: 'M', describe: 'supports a class keeps', default: 100, min: 1 } },
  start(source, { supports: M }) {
    const network = source.copy([], STORED);
    const { weight, bias } = source.classifier(), classes = source.classes;
    const warm = scoped((): Support[] => {
      const own = tf.matMul(weight, weight, false, true);
      const H = entropy((bias ? tf.add(own, bias) : own) as tf.Tensor2D).dataSync();
      return (weight.arraySync() as number[][]).map((feature, k) => ({ feature, entropy: H[k], class: k }));
    });
    let seen: Support[] = [];
    return {
      step(x) {
        const { features, logits } = network.predict(x);
        const [H, labels] = [entropy(logits).dataSync(), tf.argMax(logits, -1).dataSync()];
        const added = features.arraySync().map((feature, i) => ({ feature, entropy: H[i], class: labels[i] }));
        const kept = keepSupports([...warm, ...seen, ...added], classes, M);
        seen = kept.filter((s) => !warm.includes(s));
        return tf.matMul(features, tf.tensor2d(templates(kept, classes)), false, true);
      },
      state: () => new Map<string, Tensor>([
        ['supports.features', tf.tensor(seen.flatMap((s) => [...Array.from(s.feature)]), [seen.length, weight.shape[1]])],
        ['supports.entropy', tf.tensor1d(seen.map((s) => s.entropy))],
        ['supports.class', tf.tensor1d(seen.map((s) => s.class), 'int32')],
      ]),
      restore(state) {
        const [features, H, labels] = ['features', 'entropy', 'class'].map((n) => state.get(`supports.${n}`)!.dataSync());
        const d = weight.shape[1];
        seen = Array.from(H, (h, i) => ({ feature: features.slice(i * d, (i + 1) * d), entropy: h, class: labels[i] }));
      },
      learnt: () => new Map(),
      dispose: () => network.dispose(),
    };
  },
};

/** The M supports of the lowest entropy of each class, the earlier ones first where it is equal. */
export const keepSupports = (supports: readonly Support[], classes: number, M: number): Support[] =>
  Array.from({ length: classes }, (_, k) => supports.filter((s) => s.class === k).sort((a, b) => a.entropy - b.entropy).slice(0, M)).flat();

/** [C, d]: of each class the normalised sum of its normalised supports. */
export function templates(supports: readonly Support[], classes: number): number[][] {
  const sums = Array.from({ length: classes }, () => new Array<number>(supports[0].feature.length).fill(0));
  for (const { feature, class: k } of supports) unit(feature).forEach((v, c) => { sums[k][c] += v; });
  return sums.map(unit);
}

function unit(v: ArrayLike<number>): number[] {
  const norm = Math.max(1e-12, Math.hypot(...Array.from(v)));
  return Array.from(v, (x) => x / norm);
}

export default t3a;
