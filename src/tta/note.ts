import { Rng, tf, type Tensor, type Tensor2D } from '@graft/kernels';
import { learner } from './learner.js';
import { entropy } from './losses.js';
import { ReservoirMemory } from './memory.js';
import type { TtaMethod } from './method.js';
import { adam, adamOptions, type AdamConfig } from './optimiser.js';
import { instanceAware } from './statistics.js';

interface Config extends AdamConfig, Record<string, unknown> { memory: number; every: number; shrink: number; momentum: number }

/**
 * NOTE (Gong et al., 2022) for streams whose classes come in bursts: instance-aware normalisation (§3.1), and from time to time an entropy
 * step over a memory balanced by predicted class (§3.2), which also moves the stored statistics. Every image is predicted by itself,
 * before it is stored. The source model is meant to have been trained with that normalisation.
 */
const note: TtaMethod<Config> = {
  name: 'note',
  summary: 'instance-aware normalisation and entropy over a balanced memory',
  paper: { title: 'NOTE: Robust Continual Test-time Adaptation Against Temporal Correlation', authors: 'Gong, Jeong, Kim, Kim, Shin, Lee', year: 2022, url: 'https://arxiv.org/abs/2208.05117' },
  options: {
    ...adamOptions(1e-4),
    memory: { type: 'number', metavar: 'N', describe: 'images the memory holds', default: 64, min: 1 },
    every: { type: 'number', metavar: 'N', describe: 'images between two updates', default: 64, min: 1 },
    shrink: { type: 'number', metavar: 'K', describe: 'an instance keeps its own statistics where they are this many standard errors off', default: 4, min: 0 },
    momentum: { type: 'number', describe: 'share of the memory\'s statistics when the stored ones move', default: 0.01, min: 0, max: 1 },
  },
  start(source, { memory: capacity, every, shrink, momentum, ...rates }, seed) {
    const network = source.copy(source.affine(), instanceAware(shrink), source.buffers()), learning = network.under(instanceAware(shrink, momentum));
    const memory = new ReservoirMemory(capacity, source.classes, (n) => new Rng('note', seed, n));
    const training = learner(learning, adam(network.trained, rates));
    let seen = 0;

    const learn = (): void => training.descend(() => {
      const z = learning.logits(memory.images());
      return { loss: tf.div(tf.mean(entropy(z)), source.classes), kept: z };
    }).dispose();

    return {
      ...training,
      step(x) {
        const B = x.shape[0], pixels = x.dataSync() as Float32Array, parts: Tensor2D[] = [];
        for (let at = 0; at < B;) {
          const n = Math.min(B - at, every - (seen % every));
          const z = network.logits(tf.slice(x, [at, 0, 0, 0], [n, -1, -1, -1]));
          const labels = tf.argMax(z, -1).dataSync();
          for (let i = 0; i < n; i++) memory.offer(x, pixels, at + i, labels[i]);
          seen += n;
          at += n;
          parts.push(z);
          if (seen % every === 0) tf.tidy(learn);
        }
        return tf.concat(parts, 0);
      },
      state: () => new Map<string, Tensor>([['seen', tf.scalar(seen, 'int32')], ...memory.state(), ...training.state()]),
      restore(state) {
        seen = state.get('seen')!.dataSync()[0];
        memory.restore(state);
        training.restore(state);
      },
    };
  },
};

export default note;
