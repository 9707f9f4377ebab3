import { scoped, tf, type Tensor, type Tensor2D, type Tensor4D } from '@graft/kernels';
import { usageError } from '../errors.js';
import type { Pass, Site } from '../models/site.js';
import { mixStyle, stageEnds, type Mix } from './mixstyle.js';
import type { Network, Source } from './network.js';
import { STORED } from './statistics.js';

/** Layers of f_w, and of each f_Θ (Chen et al., 2023, §4.1). */
const LOSS_DEPTH = 10, BLOCK_DEPTH = 5;

/** Element-wise layers over values of a shape, by name. As they start, they leave what is not negative as it is. */
const layers = (at: string, shape: readonly number[], depth: number): [string, Tensor][] => Array.from({ length: depth }, (_, i): [string, Tensor][] =>
  [[`${at}.${i}.weight`, tf.ones([...shape])], [`${at}.${i}.bias`, tf.zeros([...shape])]]).flat();

/** w_n ⊙ relu(… relu(w_1 ⊙ x + b_1) …) + b_n */
function chain(x: Tensor, at: string, depth: number, weight: (name: string) => Tensor): Tensor {
  let h = x;
  for (let i = 0; i < depth; i++) h = tf.add(tf.mul(weight(`${at}.${i}.weight`), i > 0 ? tf.relu(h) : h), weight(`${at}.${i}.bias`));
  return h;
}

/** f_w as it starts, over d features. */
export const lossWeights = (d: number): Map<string, Tensor> => new Map(layers('f_w', [d], LOSS_DEPTH));

/** L_wcont = mean(f_w(z̃ - z)²) of the features z of images and z̃ of the same after MixStyle: [B, d] (equation 2). */
export const consistency = (w: ReadonlyMap<string, Tensor>, z: Tensor2D, mixed: Tensor2D): Tensor =>
  tf.mean(tf.square(chain(tf.sub(mixed, z), 'f_w', LOSS_DEPTH, (name) => w.get(name)!)));

type Prediction = ReturnType<Network['predict']>;

/** A model that runs images beside what MixStyle makes of them, from where it does so on, in one batch. */
export class Styled {
  readonly source: Source;
  private mix: Mix | null = null;

  /**
   * @param blocks there is an f_Θ after each stage, whose tensors (`blockWeights`) its copies own
   * @param tensors values in place of the source's
   */
  constructor(source: Source, blocks: boolean, tensors?: ReadonlyMap<string, Tensor>) {
    this.source = withStages(source, (y, site, pass) => {
      const all = this.mix?.after === site.name ? tf.concat([y, mixStyle(y, this.mix)], 0) : y;
      return blocks ? chain(all, blockName(site), BLOCK_DEPTH, (name) => pass.weight(name)) : all;
    }, tensors);
  }

  /** The images, and the same mixed. */
  both(network: Network, x: Tensor4D, mix: Mix): [Prediction, Prediction] {
    this.mix = mix;
    try {
      const { features, logits } = network.predict(x), halves = (t: Tensor2D): Tensor2D[] => tf.split(t, 2, 0);
      const [[z, mixed], [logitsZ, logitsMixed]] = [halves(features), halves(logits)];
      return [{ features: z, logits: logitsZ }, { features: mixed, logits: logitsMixed }];
    } finally {
      this.mix = null;
    }
  }
}

const blockName = (site: Site): string => `${site.name}.f_theta`;

const withStages = (source: Source, after: (y: Tensor, site: Site, pass: Pass) => Tensor, tensors?: ReadonlyMap<string, Tensor>): Source => source.with({
  name: 'stages', summary: '', paper: null, options: {}, params: () => [], sites: stageEnds, change: ({ site, x, base, pass }) => after(base(x), site, pass),
}, tensors);

/** Every f_Θ as it starts, in the shape of what its stage gives for one image. @throws GraftError (usage) for a model of images of any size */
export function blockWeights(source: Source): Map<string, Tensor> {
  const { imageSize, type } = source.model, shapes = new Map<string, number[]>();
  if (!imageSize) throw usageError(`itta: this ${type} reads no images of one size`);
  const probe = withStages(source, (y, site) => {
    shapes.set(blockName(site), y.shape.slice(1));
    return y;
  }).copy([], STORED);
  scoped(() => probe.logits(tf.zeros([1, ...imageSize, 3])));
  probe.dispose();
  return new Map([...shapes].flatMap(([name, shape]) => layers(name, shape, BLOCK_DEPTH)));
}
