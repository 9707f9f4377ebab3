import { dataError } from '../errors.js';
import { checkWeights } from './check.js';
import type { Model } from './model.js';
import type { Headers } from './modules.js';

type Architecture = (checkpoint: Headers) => Model;

const roberta = () => import('./roberta.js');
const llama = () => import('./llama.js');

/** By `model_type` of config.json: the module that builds the model, loaded when it is asked for. */
const ARCHITECTURES: Record<string, () => Promise<{ default: Architecture }>> = {
  bert: () => import('./bert.js'),
  roberta, 'xlm-roberta': roberta, camembert: roberta,
  gpt2: () => import('./gpt2.js'),
  llama, mistral: llama, qwen2: llama,
  vit: () => import('./vit.js'),
  resnet: () => import('./resnet.js'),
  'resnet-cifar': () => import('./resnet-cifar.js'),
  'unet-2d-condition': () => import('./unet.js'),
};

/** Lays out the model of a checkpoint; its weights are read when they are first used. @throws GraftError (65) for an architecture that is not known */
export async function loadModel(checkpoint: Headers): Promise<Model> {
  const { model_type: type } = checkpoint.config;
  const load = Object.hasOwn(ARCHITECTURES, type) ? ARCHITECTURES[type] : undefined;
  if (!load) throw dataError(`${checkpoint.path}: architecture '${type}' is not known: one of ${Object.keys(ARCHITECTURES).join(', ')}`);
  const model = (await load()).default(checkpoint);
  if (!checkpoint.blank) checkWeights(checkpoint, model);
  return model;
}
