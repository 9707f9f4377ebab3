import { usageError } from '../errors.js';
import type { Model } from '../models/model.js';
import type { Site } from '../models/site.js';
import type { OptionValues } from '../options.js';
import type { Method, ParamSpec, TensorShapes } from './method.js';

type Part = 'query' | 'key' | 'value' | 'output' | 'intermediate' | 'norm';

/** Which part of a block a bias belongs to, by the role of its site. */
const PART: Record<string, Part> = { query: 'query', key: 'key', value: 'value', qkv: 'query', output: 'output', down: 'output', up: 'intermediate', gate: 'intermediate' };

export interface BitfitConfig extends OptionValues { parts?: readonly string[]; create: boolean }

/** BitFit: the biases of the model, or of some of its parts, and nothing else (Ben Zaken et al., 2022). */
const bitfit: Method<BitfitConfig> = {
  name: 'bitfit',
  summary: 'biases only',
  paper: { title: 'BitFit: Simple Parameter-efficient Fine-tuning for Transformer-based Masked Language-models', authors: 'Ben Zaken, Goldberg, Ravfogel', year: 2022, url: 'https://arxiv.org/abs/2106.10199' },
  options: {
    parts: { type: 'string', array: true, metavar: 'PART', choices: ['query', 'key', 'value', 'output', 'intermediate', 'norm'], describe: 'only these (the paper\'s strong subset is query and intermediate)' },
    create: { type: 'boolean', default: false, describe: 'give linear modules without a bias one that starts at zero' },
  },
  sites: () => [],
  params: () => [],
  replaced: biases,
};

export default bitfit;

function biases(model: Model, { parts = [], create }: BitfitConfig, base: TensorShapes): ParamSpec[] {
  const wanted = model.sites.filter((s) => s.role !== 'head' && (parts.length === 0 || parts.includes(partOf(s)!)));
  const specs = wanted.flatMap((site): ParamSpec[] => {
    const name = site.bias ?? `${site.name}.bias`;
    if (base.shape(name) && site.bias) return [{ name, shape: [...base.shape(name)!], init: { kind: 'base', tensor: name } }];
    return create && site.kind === 'linear' && partOf(site) ? [{ name, shape: [site.dimOut], init: { kind: 'zeros' } }] : [];
  });
  if (specs.length === 0) throw usageError(`bitfit: this ${model.type} has no biases${parts.length > 0 ? ` in --parts ${parts.join(' ')}` : ''}; --create adds them`);
  return specs;
}

const partOf = (site: Site): Part | undefined => (site.kind === 'norm' ? 'norm' : PART[site.role]);
