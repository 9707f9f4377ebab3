import { tf, type Tensor, type Tensor2D } from '@graft/kernels';
import { usageError } from '../errors.js';
import type { Forward } from './forward.js';
import type { Features, Head, HeadTensor } from './model.js';
import type { Headers } from './modules.js';

/** One way a model may end: the tensors it needs, under the names of the Hugging Face class with that head, and what it computes. */
export interface HeadLayout {
  /** Trained with every graft that has the head. */
  tensors(head: Head): HeadTensor[];
  /** What the head needs as well but leaves as it is where the checkpoint has it: a pooler, a language-modelling head. */
  below?: HeadTensor[];
  /** The token whose hidden state is all it reads. */
  reads?: 'first' | 'last';
  logits(f: Forward, features: Features): Tensor;
}

export type HeadLayouts = Partial<Record<Head['task'], HeadLayout>>;

/** Outputs of a classifying or tagging head; a regression has one. */
export const outputs = (head: Head): number => head.labels?.length ?? 1;

/** Weight [out, in] and bias [out] of a new dense layer, as `initializer_range` has it. */
export const dense = (name: string, out: number, dimIn: number, std: number): HeadTensor[] => [
  { name: `${name}.weight`, shape: [out, dimIn], init: 'normal', std }, { name: `${name}.bias`, shape: [out], init: 'zeros' },
];

export const scaleAndShift = (name: string, dim: number): HeadTensor[] => [
  { name: `${name}.weight`, shape: [dim], init: 'ones' }, { name: `${name}.bias`, shape: [dim], init: 'zeros' },
];

export function layoutFor(layouts: HeadLayouts, head: Head, type: string): HeadLayout {
  const layout = Object.hasOwn(layouts, head.task) ? layouts[head.task] : undefined;
  if (!layout) throw usageError(`a ${type} model has no head for '${head.task}': one of ${Object.keys(layouts).join(', ')}`);
  return layout;
}

/** The tensors a graft with this head owns. @param own the checkpoint's own head, kept as a start for the same classes */
export function headTensors(checkpoint: Headers, layout: HeadLayout, head: Head, own: Head | null): HeadTensor[] {
  const same = own?.task === head.task && own.labels?.join('\n') === head.labels?.join('\n');
  const last = layout.tensors(head).map((t): HeadTensor => (same && holds(checkpoint, t) ? { name: t.name, shape: t.shape, init: 'checkpoint' } : t));
  return [...(layout.below ?? []).filter((t) => !holds(checkpoint, t)), ...last];
}

const holds = (checkpoint: Headers, t: HeadTensor): boolean => checkpoint.has(t.name) && checkpoint.info(t.name).shape.join() === t.shape.join();

/** Classes of transformers by the end of their names, e.g. BertForSequenceClassification. */
const CLASSES: [RegExp, Head['task']][] = [
  [/For(Sequence|Image)Classification$/, 'classify'], [/ForTokenClassification$/, 'tag'], [/ForSemanticSegmentation$/, 'segment'],
  [/For(MaskedLM|PreTraining)$/, 'mlm'], [/(LMHeadModel|ForCausalLM)$/, 'clm'],
];

/**
 * The head a checkpoint brings: the one its class says it has, or, where no class is named, the first whose tensors are there.
 * @param width the tensor whose rows count the labels
 */
export function ownHead(checkpoint: Headers, layouts: HeadLayouts, width: Partial<Record<Head['task'], string>>): Head | null {
  const listed = checkpoint.config.architectures, named = Array.isArray(listed) && typeof listed[0] === 'string' ? listed[0] : undefined;
  const said = CLASSES.find(([pattern]) => named !== undefined && pattern.test(named))?.[1];
  const tasks = named === undefined ? (Object.keys(layouts) as Head['task'][]) : said ? [said] : [];
  for (const task of tasks) {
    const head = describe(checkpoint, task, width[task]);
    const layout = layouts[task];
    if (head && layout && [...layout.tensors(head), ...(layout.below ?? [])].every((t) => holds(checkpoint, t))) return head;
  }
  return null;
}

function describe(checkpoint: Headers, task: Head['task'], width: string | undefined): Head | null {
  if (task === 'mlm' || task === 'clm') return { task };
  if (width === undefined || !checkpoint.has(width)) return task === 'diffusion' ? { task, labels: [] } : null;
  const n = checkpoint.info(width).shape[0] - (task === 'diffusion' ? 1 : 0); // the last condition is none
  if (task === 'classify' && n === 1) return { task: 'regress' };
  const names = (checkpoint.config.id2label ?? {}) as Record<string, unknown>;
  return { task, labels: Array.from({ length: n }, (_, i) => (typeof names[i] === 'string' ? names[i] : `LABEL_${i}`)) };
}

/** The hidden state at index 0, [B, d]. */
export function firstToken(hidden: Tensor): Tensor {
  const [B, , d] = hidden.shape;
  return tf.reshape(tf.slice(hidden, [0, 0, 0], [B, 1, d!]), [B, d!]);
}

/** The hidden state of each row's last token that is not padding, [B, d]. */
export function lastToken({ hidden, mask }: Features): Tensor {
  const [B, T, d] = hidden.shape as [number, number, number];
  if (T === 1) return firstToken(hidden);
  const last = mask ? tf.argMax(tf.mul(mask, tf.range(1, T + 1)), 1) : tf.fill([B], T - 1, 'int32');
  const at = tf.reshape(tf.cast(tf.oneHot(tf.cast(last, 'int32') as Tensor2D, T), 'float32'), [B, 1, T]);
  return tf.reshape(tf.matMul(at, hidden), [B, d]);
}
