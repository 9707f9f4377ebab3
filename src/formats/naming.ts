import type { Head } from '../models/model.js';
import type { Checkpoint } from './checkpoint.js';
import { isKohya, kohyaNamed } from './kohya.js';
import type { Graft } from './graft.js';

/**
 * How transformers names things, by `model_type`: its classes with a head keep the body under `prefix`, where the file of a bare
 * body has none; the names of its classes begin with `stem`.
 */
const FAMILIES: Record<string, { prefix: string; stem: string }> = {
  bert: { prefix: 'bert.', stem: 'Bert' },
  roberta: { prefix: 'roberta.', stem: 'Roberta' },
  'xlm-roberta': { prefix: 'roberta.', stem: 'XLMRoberta' },
  gpt2: { prefix: 'transformer.', stem: 'GPT2' },
  llama: { prefix: 'model.', stem: 'Llama' },
  mistral: { prefix: 'model.', stem: 'Mistral' },
  qwen2: { prefix: 'model.', stem: 'Qwen2' },
  vit: { prefix: 'vit.', stem: 'ViT' },
};

/** How the classes of networks of convolutions begin, whose files keep one name for a module. */
const CONVOLUTIONAL: Record<string, string> = { resnet: 'ResNet', 'resnet-cifar': 'ResNetCifar' };

/** What stands beside the body: heads, and tensors of grafts that belong to no module. */
const BESIDE = /^(classifier|score|lm_head|cls|qa_outputs|prompt_embeddings|prompt_encoder|decode_head|segmentation_head|shared|vera_[AB])(\.|$)/;

export const isHeadName = (name: string): boolean => BESIDE.test(name);

/** The name with or without the prefix its family's classes put before it; as it is where the family is not known. */
export function bodyName(type: string, name: string, prefixed: boolean): string {
  const prefix = FAMILIES[type]?.prefix;
  if (prefix === undefined || isHeadName(name)) return name;
  if (name.startsWith(prefix)) return prefixed ? name : name.slice(prefix.length);
  return prefixed ? prefix + name : name;
}

/** Whether names stand under their family's prefix. */
export function isPrefixed(type: string, names: Iterable<string>): boolean {
  const prefix = FAMILIES[type]?.prefix;
  for (const name of names) if (prefix !== undefined && name.startsWith(prefix)) return true;
  return false;
}

/** The class that has this head, e.g. BertForSequenceClassification. Undefined where the family is not known. */
export function headClass(type: string, { task }: Head): string | undefined {
  const stem = FAMILIES[type]?.stem ?? CONVOLUTIONAL[type], images = type === 'vit' || stem === CONVOLUTIONAL[type];
  const ends: Partial<Record<Head['task'], string>> = {
    classify: images ? 'ForImageClassification' : 'ForSequenceClassification', regress: images ? 'ForImageClassification' : 'ForSequenceClassification', tag: 'ForTokenClassification',
    segment: 'ForSemanticSegmentation', mlm: 'ForMaskedLM', clm: type === 'gpt2' ? 'LMHeadModel' : 'ForCausalLM',
  };
  return stem && ends[task] && stem + ends[task];
}

/** The graft with its modules named as in the checkpoint: adapters made on a bare body fit the same body under a head, and back. */
export function alignNames(graft: Graft, checkpoint: Checkpoint): Graft {
  if (isKohya(graft.tensors.keys())) return kohyaNamed(graft, checkpoint);
  const { config: { model_type: type } } = checkpoint;
  if (!Object.hasOwn(FAMILIES, type)) return graft;
  const prefixed = isPrefixed(type, checkpoint.names());
  if ([...graft.tensors.keys()].every((name) => checkpoint.has(name) || bodyName(type, name, prefixed) === name)) return graft;
  return renamed(graft, type, prefixed);
}

/** The graft with its modules under their family's prefix, or not. */
export function renamed(graft: Graft, type: string, prefixed: boolean): Graft {
  const tensors = new Map([...graft.tensors].map(([name, t]) => [bodyName(type, name, prefixed), t]));
  // A path matches the end of another: only a prefix too many must go.
  const shorten = (entry: unknown): unknown => (typeof entry === 'string' ? bodyName(type, entry, false) : entry);
  const config = Object.fromEntries(Object.entries(graft.config).map(([key, value]) => [key, PATHS.has(key) && Array.isArray(value) ? value.map(shorten) : value]));
  return { ...graft, config, tensors };
}

/** Configuration that lists modules. */
const PATHS = new Set(['targetModules', 'excludeModules', 'feedforwardModules', 'rankPattern', 'alphaPattern']);
