import type { Activation, ConvOptions, Tensor, Tensor4D } from '@graft/kernels';
import type { Checkpoint } from '../formats/checkpoint.js';
import { dataError } from '../errors.js';
import { count } from './config.js';
import type { Forward } from './forward.js';
import type { AttentionInput, Site, SiteCall, Tokens } from './site.js';

/** What a checkpoint's headers say: enough to lay out its model. */
export type Headers = Pick<Checkpoint, 'path' | 'config' | 'has' | 'info'> & {
  /** No tensor is there yet: what config.json says decides. */
  blank?: boolean;
};

/**
 * The modules of a model. Each method declares one module as a site and returns the function that runs it in a forward pass,
 * so that an architecture is written once: the modules it consists of and, beside them, how they are run. Modules are declared
 * in execution order; `layer` is the block that those declared next belong to.
 */
export class Modules {
  readonly sites: Site[] = [];
  /** Tensors that belong to no site. */
  readonly parameters: { name: string; shape: number[] }[] = [];
  layer = -1;
  /** What the modules declared next have in common. */
  private common: Partial<Site> = {};

  constructor(private readonly checkpoint: Headers) {}

  /** A dense layer. `dims` is [in, out]; `biased`: it starts with a bias, where the checkpoint is yet to be made. */
  linear(name: string, role: string, [dimIn, dimOut]: readonly [number, number], { biased = true, ...own }: Partial<Site> & { biased?: boolean } = {}): (f: Forward, x: Tensor, activation?: Activation) => Tensor {
    this.add({ name, kind: 'linear', role, dimIn, dimOut, weight: `${name}.weight`, bias: this.present(`${name}.bias`, biased), ...own });
    return (f, x, activation) => f.linear(name, x, activation);
  }

  /** The last dense layer of a head, which a graft may bring: as wide as the checkpoint's own, 0 where it has none. */
  headLinear(name: string, dimIn: number, own: Partial<Site> = {}): (f: Forward, x: Tensor) => Tensor {
    this.linear(name, 'head', [dimIn, this.classes(own.weight ?? `${name}.weight`)], { bias: `${name}.bias`, ...own });
    return (f, x) => f.readOut(name, x);
  }

  /** How many classes the tensor of a head has rows for: the checkpoint's own, 0 where it has none, of a blank model what config.json counts. */
  classes(weight: string): number {
    const { blank, config } = this.checkpoint;
    const named = blank ? Number(config.num_labels ?? Object.keys((config.id2label ?? {}) as object).length) : 0;
    return this.checkpoint.has(weight) ? this.checkpoint.info(weight).shape[0] : named;
  }

  /** What `declare` declares is a head of several modules: a graft may bring all of them. */
  head<T>(task: Site['task'], declare: () => T): T {
    this.common = { role: 'head', task };
    const declared = declare();
    this.common = {};
    return declared;
  }

  /** A square convolution without dilation; `dims` is [in, out]. */
  conv(name: string, role: string, [dimIn, dimOut]: readonly [number, number], kernel: number, stride = 1, padding = 0, biased = false): (f: Forward, x: Tensor) => Tensor4D {
    this.add({ name, kind: 'conv', role, dimIn, dimOut, weight: `${name}.weight`, bias: this.present(`${name}.bias`, biased), conv: { kernel: [kernel, kernel], stride, padding } });
    const options: ConvOptions = { stride, padding };
    return (f, x) => f.conv(name, x as Tensor4D, options);
  }

  /** A table [rows, width]; see tableRows. */
  embedding(name: string, role: string, [rows, width]: readonly [number, number]): (f: Forward, ids: Tensor) => Tensor {
    this.add({ name, kind: 'embedding', role, dimIn: rows, dimOut: width, weight: `${name}.weight` });
    return (f, ids) => f.embedding(name, ids);
  }

  /** A tensor of its own, which no adapter changes. */
  parameter(name: string, shape: number[]): (f: Forward) => Tensor {
    this.parameters.push({ name, shape });
    return (f) => f.weight(name);
  }

  /** @param groups of channels, for `group` */
  norm(name: string, type: 'batch' | 'layer' | 'rms' | 'group', dim: number, epsilon: number, role = 'norm', groups?: number): (f: Forward, x: Tensor) => Tensor {
    // Checkpoints converted from TensorFlow call the two vectors gamma and beta.
    const [weight, bias] = this.checkpoint.has(`${name}.gamma`) ? ['gamma', 'beta'] : ['weight', 'bias'];
    this.add({ name, kind: 'norm', role, dimIn: dim, dimOut: dim, weight: `${name}.${weight}`, bias: type === 'rms' ? undefined : `${name}.${bias}`, norm: { type, epsilon, ...(groups && { groups }) } });
    return (f, x) => f.norm(name, x);
  }

  /** @param heads with the rate of dropout of the attention weights */
  attention(name: string, dim: number, heads: { heads: number; kvHeads: number; headDim: number; dropout: number }): (f: Forward, x: Tensor, input: AttentionInput) => Tensor4D {
    if (!Number.isInteger(heads.headDim) || heads.heads % heads.kvHeads !== 0) throw dataError(`${this.checkpoint.path}/config.json: ${dim} hidden units, ${heads.heads} heads and ${heads.kvHeads} key heads do not divide one another`);
    this.add({ name, kind: 'attention', role: 'self', dimIn: dim, dimOut: heads.heads * heads.headDim, ...heads });
    return (f, x, input) => f.attention(name, x, input);
  }

  /** A sub-layer, up to what it writes before the residual addition. Its own dropout lies beneath the grafts' changes. */
  output(kind: 'attention.output' | 'ffn.output', name: string, dim: number, own: Pick<Site, 'postNorm' | 'dropout'> = {}): (f: Forward, x: Tensor, base: (x: Tensor) => Tensor, extra: Pick<SiteCall, 'stream' | 'norm' | 'mid'>) => Tensor {
    this.add({ name, kind, role: kind, dimIn: dim, dimOut: dim, ...own });
    return (f, x, base, extra) => f.output(kind, name, x, base, extra);
  }

  /** Opens block `layer`: what is declared from here on belongs to it. */
  block(layer: number, name: string, dims: readonly [number, number]): (f: Forward, x: Tensor, run: (x: Tensor) => Tensor) => Tensor {
    this.layer = layer;
    this.add({ name, kind: 'block', role: 'block', dimIn: dims[0], dimOut: dims[1] });
    return (f, x, run) => f.block(name, x, run);
  }

  /** Dropout of hidden states; no site, as it only acts in training. */
  dropout(name: string, rate: number): (f: Forward, x: Tensor) => Tensor {
    return (f, x) => f.dropout(name, x, rate);
  }

  tokens(dim: number): (f: Forward, tokens: Tokens) => Tokens {
    this.add({ name: 'tokens', kind: 'tokens', role: 'tokens', dimIn: dim, dimOut: dim });
    return (f, tokens) => f.tokens('tokens', tokens);
  }

  pixels(channels = 3): (f: Forward, x: Tensor) => Tensor {
    this.add({ name: 'pixels', kind: 'pixels', role: 'pixels', dimIn: channels, dimOut: channels });
    return (f, x) => f.pixels('pixels', x);
  }

  logits(dim: number): (f: Forward, x: Tensor, base: (x: Tensor) => Tensor) => Tensor {
    this.add({ name: 'logits', kind: 'logits', role: 'head', dimIn: dim, dimOut: 0 });
    return (f, x, base) => f.logits('logits', x, base);
  }

  private add(site: Omit<Site, 'layer'>): void {
    this.sites.push({ ...site, ...this.common, layer: this.layer });
  }

  private present(name: string, otherwise: boolean): string | undefined {
    return (this.checkpoint.blank ? otherwise : this.checkpoint.has(name)) ? name : undefined;
  }
}

/** Rows of a table: those stored, which may be more than config.json counts under `key`; of a blank model these. */
export const tableRows = (checkpoint: Headers, name: string, key: string): number => (checkpoint.blank ? count(checkpoint, key) : checkpoint.info(name).shape[0]);

/**
 * What precedes an architecture's module names in this checkpoint: nothing in the file of a bare encoder, the class prefix
 * (`bert.`) in the file of a model with a head. `probe` is a tensor every such model has.
 * @throws GraftError (65) when it is found under neither name
 */
export function modulePrefix(checkpoint: Headers, prefix: string, probe: string): string {
  if (checkpoint.blank) return '';
  const found = ['', prefix].find((p) => checkpoint.has(p + probe));
  if (found === undefined) throw dataError(`${checkpoint.path}: has neither '${probe}' nor '${prefix}${probe}', which every ${checkpoint.config.model_type} model has`);
  return found;
}
