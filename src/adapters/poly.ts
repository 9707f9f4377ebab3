import { embedding, lowRank, Rng, tf, untracked, type Tensor, type Tensor2D } from '@graft/kernels';
import { dataError, usageError } from '../errors.js';
import type { Pass, Site } from '../models/site.js';
import { dropped } from './low-rank.js';
import type { Method, Params } from './method.js';
import { targetOptions, targetSites, type Targets } from './targets.js';

export interface PolyConfig extends Targets {
  rank: number;
  /** S */
  skills: number;
  /** Q */
  splits: number;
  /** Names of the tasks, in the order of the router's rows. */
  tasks: readonly string[];
  router: 'sigmoid' | 'relaxed';
  routerLr: number;
  dropout: number;
}

const EPSILON = 1e-12;
/** Router logits start in U(±this). */
export const ROUTER_BOUND = 1e-3;

/**
 * Poly (Ponti et al., 2022) and multi-head routing (MHR): an inventory of S low-rank skills A [Q, S, in/Q, r], B [Q, S, r, out/Q] that
 * all tasks share; each task t mixes them by α = h/Σh with h = σ(Z_t), separately in each of Q splits of the inputs and outputs:
 * y = W x + b + 1/r · x A_t B_t with A_t and B_t the concatenated means over skills (eqs. 3 to 6). Rows say their task in the column
 * `task`. B = 0 at the start, the identity. Names and shapes are PEFT's.
 */
const poly: Method<PolyConfig> = {
  name: 'poly',
  summary: 'skills that many tasks share, mixed for each task (Poly, MHR)',
  factored: true,
  paper: { title: 'Multi-Head Adapter Routing for Cross-Task Generalization', authors: 'Caccia et al.', year: 2023, url: 'https://arxiv.org/abs/2211.03831' },
  options: {
    rank: { type: 'number', alias: 'r', metavar: 'N', default: 8, min: 1, describe: 'rank r of a skill' },
    skills: { type: 'number', metavar: 'N', default: 4, min: 1, describe: 'number of skills' },
    splits: { type: 'number', metavar: 'N', default: 1, min: 1, describe: 'parts of inputs and outputs that are routed by themselves; more than 1 is MHR' },
    tasks: { type: 'string', array: true, metavar: 'NAME', describe: 'tasks, by their names in the column task; those without data yet may be among them' },
    ...targetOptions,
    router: { type: 'string', default: 'sigmoid', choices: ['sigmoid', 'relaxed'], describe: 'weights in training: sigmoid of the logits, or a sample of a relaxed Bernoulli' },
    routerLr: { type: 'number', default: 100, min: 0, describe: 'the router learns this many times faster' },
    dropout: { type: 'number', default: 0, min: 0, max: 1, describe: "dropout on the branch's input" },
  },

  resolve(config, { model }) {
    const tasks = config.tasks ?? [];
    if (tasks.length === 0) throw usageError('poly: --tasks is missing: the names of the tasks that share the skills');
    if (new Set(tasks).size !== tasks.length) throw usageError(`poly: --tasks ${tasks.join(',')}: a name stands twice`);
    return { ...config, targetModules: config.targetModules?.length ? config.targetModules : [...model.defaultTargets] };
  },

  sites: (model, config) => targetSites(model, config, ['linear']),

  params(site, { rank: r, skills: S, splits: Q, tasks, routerLr }) {
    if (site.dimIn % Q !== 0 || site.dimOut % Q !== 0) throw usageError(`poly: --splits ${Q} does not divide ${site.name}, which is ${site.dimIn} to ${site.dimOut}`);
    return [
      { name: 'poly_lora_A', shape: [Q, S, site.dimIn / Q, r], init: { kind: 'kaiming', fanIn: site.dimIn / Q } },
      { name: 'poly_lora_B', shape: [Q, S, r, site.dimOut / Q], init: { kind: 'zeros' } },
      { name: 'poly_router.module_logits', shape: [tasks.length, Q * S], init: { kind: 'uniform', bound: ROUTER_BOUND }, decay: false, lrScale: routerLr },
    ];
  },

  change(call, p, config) {
    const { site, pass } = call;
    const { tasks, rows } = routeOf(pass, config);
    const { A, B } = mixed(site, p, config, tasks, pass);
    const h = call.base(call.x), x = dropped(call, config.dropout), s = 1 / config.rank;
    if (tasks.length === 1) return lowRank(h, x, tf.transpose(tf.squeeze(A, [0])) as Tensor2D, tf.transpose(tf.squeeze(B, [0])) as Tensor2D, s);
    // A pair for each row: its task's.
    const own = (t: Tensor): Tensor => tf.reshape(embedding(tf.reshape(t, [tasks.length, -1]) as Tensor2D, tf.tensor1d(rows, 'int32')), [rows.length, ...t.shape.slice(1)]);
    const tokens = tf.reshape(x, [rows.length, -1, site.dimIn]);
    return tf.add(h, tf.reshape(tf.mul(tf.matMul(tf.matMul(tokens, own(A)), own(B)), s), h.shape));
  },

  unmergeable: 'it depends on the task of each row; graft merge --task NAME makes it the low-rank change of one task',
};

export default poly;

/** The distinct tasks of a batch, and for each row which of them is its. */
function routeOf({ route }: Pass, { tasks }: PolyConfig): { tasks: number[]; rows: number[] } {
  if (!route.task) throw dataError('poly: the data has no column task, which says the task of each row');
  const unknown = route.task.find((t) => !tasks.includes(t));
  if (unknown !== undefined) throw dataError(`poly: task '${unknown}' is none of the graft's (${tasks.slice(0, 5).join(', ')}${tasks.length > 5 ? ', …' : ''})`);
  const wanted = [...new Set(route.task)];
  return { tasks: wanted.map((t) => tasks.indexOf(t)), rows: route.task.map((t) => wanted.indexOf(t)) };
}

/** A_t [U, in, r] and B_t [U, r, out] of some tasks. */
function mixed(site: Site, p: Params, { rank: r, skills: S, splits: Q, router }: PolyConfig, tasks: readonly number[], pass: Pass): { A: Tensor; B: Tensor } {
  const U = tasks.length;
  const Z = tf.reshape(embedding(p['poly_router.module_logits'] as Tensor2D, tf.tensor1d([...tasks], 'int32')), [U, Q, S]);
  const h = tf.sigmoid(pass.train && router === 'relaxed' ? tf.add(Z, logisticNoise(Z.shape, pass, site)) : Z);
  const alpha = tf.transpose(tf.div(h, tf.add(tf.sum(h, -1, true), EPSILON)), [1, 0, 2]); // [Q, U, S]
  const mean = (skills: Tensor): Tensor => tf.matMul(alpha, tf.reshape(skills, [Q, S, -1])); // [Q, U, ·]
  const A = tf.reshape(tf.transpose(mean(p.poly_lora_A), [1, 0, 2]), [U, site.dimIn, r]);
  const B = tf.transpose(tf.reshape(mean(p.poly_lora_B), [Q, U, r, site.dimOut / Q]), [1, 2, 0, 3]);
  return { A, B: tf.reshape(B, [U, r, site.dimOut]) };
}

/** A relaxed Bernoulli variable of temperature 1 is σ(Z + log u − log(1 − u)). */
function logisticNoise(shape: number[], { seed, step }: Pass, site: Site): Tensor {
  const rng = new Rng('relaxed', seed, step, site.name);
  const noise = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => {
    const u = Math.min(1 - 1e-7, Math.max(1e-7, rng.uniform()));
    return Math.log(u / (1 - u));
  });
  return tf.tensor(noise, shape);
}

/** The pair of one task, or with none of all skills in equal parts (MHR-μ), as LoRA has it: A [r, in] and B [out, r], to be scaled by 1/r. */
export function fixedPair(site: Pick<Site, 'name' | 'dimIn' | 'dimOut'>, p: Params, config: PolyConfig, task: string | null): { A: Tensor; B: Tensor } {
  const index = task === null ? 0 : config.tasks.indexOf(task);
  if (index < 0) throw usageError(`--task ${task} is none of the graft's tasks (${config.tasks.slice(0, 5).join(', ')}${config.tasks.length > 5 ? ', …' : ''})`);
  const router = 'poly_router.module_logits';
  const params = task === null ? { ...p, [router]: tf.zerosLike(p[router]) } : p;
  return untracked(() => tf.tidy(() => {
    const { A, B } = mixed(site as Site, params, config, [index], { train: false } as Pass);
    return { A: tf.transpose(tf.squeeze(A, [0])), B: tf.transpose(tf.squeeze(B, [0])) };
  }));
}
