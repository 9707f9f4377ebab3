import { Rng, tf, type Tensor } from '@graft/kernels';
import { augment } from './augment.js';
import { learner } from './learner.js';
import { entropy, softCrossEntropy } from './losses.js';
import { TimelyMemory } from './memory.js';
import type { TtaMethod } from './method.js';
import { adam, adamOptions, assign, prefixed, type AdamConfig } from './optimiser.js';
import { mixed, STORED } from './statistics.js';
import { movingAverage } from './teacher.js';

interface Config extends AdamConfig, Record<string, unknown> { memory: number; every: number; statistics: number; teacher: number }

/**
 * RoTTA (Yuan et al., 2023) for streams whose classes come in bursts: statistics that move slowly (equation 2), a memory of images
 * balanced by predicted class, young and certain (equations 3 to 6), and from time to time a step of the student on augmented stored
 * images towards the teacher, recent images counting more (equations 7 to 9). The logits are the teacher's, before the batch is stored.
 */
const rotta: TtaMethod<Config> = {
  name: 'rotta',
  summary: 'mean teacher over a balanced memory, with slowly moving statistics',
  paper: { title: 'Robust Test-Time Adaptation in Dynamic Scenarios', authors: 'Yuan, Xie, Li', year: 2023, url: 'https://arxiv.org/abs/2303.13899' },
  options: {
    ...adamOptions(1e-3),
    memory: { type: 'number', metavar: 'N', describe: 'images the memory holds', default: 64, min: 1 },
    every: { type: 'number', metavar: 'N', describe: 'images between two updates', default: 64, min: 1 },
    statistics: { type: 'number', describe: 'share of the batch\'s statistics when the stored ones move', default: 0.05, min: 0, max: 1 },
    teacher: { type: 'number', describe: 'share of the student that the teacher takes over at each update', default: 0.001, min: 0, max: 1 },
  },
  start(source, { memory: capacity, every, statistics, teacher: nu, ...rates }, seed) {
    const robust = mixed(1 - statistics, { keep: true });
    const names = source.affine(), student = source.copy(names, robust, source.buffers()), teacher = source.copy(names, STORED, source.buffers());
    const learning = teacher.under(robust);
    const memory = new TimelyMemory(capacity, source.classes);
    const training = learner(student, adam(student.trained, rates), 'student.');
    let seen = 0;

    function learn(): void {
      const x = memory.images();
      const weights = tf.tensor1d(memory.items.map(({ age }) => 1 / (1 + Math.exp(age / capacity))));
      const target = tf.softmax(learning.logits(x));
      training.descend(() => {
        const z = student.logits(augment(x, new Rng('rotta', seed, seen)));
        return { loss: tf.mean(tf.mul(weights, softCrossEntropy(target, z))), kept: z };
      }).dispose();
      movingAverage(teacher.trained, student.trained, 1 - nu);
    }

    return {
      step(x) {
        const z = teacher.logits(x);
        const [H, labels, pixels] = [entropy(z).dataSync(), tf.argMax(z, -1).dataSync(), x.dataSync() as Float32Array];
        for (let i = 0; i < x.shape[0]; i++) {
          memory.offer(x, pixels, i, labels[i], H[i]);
          if (++seen % every === 0) tf.tidy(learn);
        }
        return z;
      },
      state: () => new Map<string, Tensor>([['seen', tf.scalar(seen, 'int32')], ...memory.state(), ...prefixed('teacher.', teacher.own), ...training.state()]),
      restore(state) {
        seen = state.get('seen')!.dataSync()[0];
        memory.restore(state);
        assign(teacher.own, state, 'teacher.');
        training.restore(state);
      },
      learnt: () => new Map(teacher.own),
      dispose: () => [teacher, training].forEach((x) => x.dispose()),
    };
  },
};

export default rotta;
