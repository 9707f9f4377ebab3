import { usageError } from '../errors.js';
import type { Model } from '../models/model.js';
import type { Method, ParamSpec, TensorShapes } from './method.js';

type Part = 'query' | 'key' | 'value' | 'output' | 'intermediate' | 'norm';

/** Which part of a block a bias belongs to, by the role of its site. */
const PART: Record<string, Part> = { query: 'query', key: 'key', value: 'value', qkv: 'query', output: 'output', down: 'output', up: 'intermediate', gate: 'intermediate' };

/** BitFit: the biases of the model, or of some of its parts, and nothing else (Ben Zaken et al., 2022). */
const bitfit: Method<{ parts?: readonly string[] }> = {
  name: 'bitfit',
  summary: 'biases only',
  paper: { title: 'BitFit: Simple Parameter-efficient Fine-tuning for Transformer-based Masked Language-models', authors: 'Ben Zaken, Goldberg, Ravfogel', year: 2022, url: 'https://arxiv.org/abs/2106.10199' },
  options: { parts: { type: 'string', array: true, metavar: 'PART', describe: 'only these: query key value output intermediate norm (the paper\'s strong subset is query and intermediate)' } },
  sites: () => [],
  params: () => [],
  replaced: (model, { parts = [] }, base) => biases(model, parts, base),
};

function biases(model: Model, parts: readonly string[], base: TensorShapes): ParamSpec[] {
  const specs = model.sites.flatMap((site): ParamSpec[] => {
    const part = site.kind === 'norm' ? 'norm' : PART[site.role];
    if (!site.bias || site.role === 'head' || base.shape(site.bias) === undefined || (parts.length > 0 && !parts.includes(part))) return [];
    return [{ name: site.bias, shape: [...base.shape(site.bias)!], init: { kind: 'base', tensor: site.bias }, decay: false }];
  });
  if (specs.length === 0) throw usageError(`bitfit: this ${model.type} has no biases${parts.length > 0 ? ` in --parts ${parts.join(' ')}` : ''}; lora or full would train it`);
  return specs;
}

export default bitfit;
