import { dataError } from '../errors.js';
import { openCheckpoint, type ModelConfig } from '../formats/checkpoint.js';
import { decode, encode, isFloat, type FloatDtype } from '../formats/dtype.js';
import { readGraft } from '../formats/graft.js';
import { fold } from './exact.js';
import { floats } from './models.js';
import { METHODS, resolve, type Recipe, type Settings, type Slice, type Source } from './recipe.js';
import { mergingMethod } from './registry.js';
import { reshard, TORCH, type Outline, type Shard, type WholeModel } from './stream.js';

/** The layer in a tensor's name, with what stands before and after its number. */
const LAYER = /^(.*?\b(?:layers?|h|blocks?)\.)(\d+)(\..*)$/;

/** Weight files of a model whose layers were put together anew. */
const SHARD_BYTES = 5e9;

/** One tensor of the output: which slice makes it, from which layer of each source, and where in the slice that is (0 to 1). */
interface Part { outline: Outline; slice: Slice; offset: number | null; position: number }

/**
 * The model a mergekit configuration describes, tensor by tensor as it is written. It computes what mergekit does: votes are on
 * weighted task vectors, `rescale` restores the L1 norm, gradients stretch over the layers of a slice and tensors outside the layers
 * take their first value. Layout and files are those of the base, or of the first model.
 * @throws GraftError (65) where the models do not fit each other or the recipe, (66) where one is not there
 */
export async function mergeRecipe(recipe: Recipe, seed: number): Promise<WholeModel> {
  const models = new Map<string, WholeModel>();
  for (const ref of [recipe.base, ...recipe.slices.flatMap((s) => [s.base, ...s.sources.map((x) => x.model)])]) {
    if (ref !== null && !models.has(ref)) models.set(ref, await open(ref));
  }
  return new Merged(recipe, models, seed);
}

async function open(ref: string): Promise<WholeModel> {
  const [path, ...adapters] = ref.split('+');
  return fold(await openCheckpoint(path), await Promise.all(adapters.map(readGraft)));
}

class Merged implements WholeModel {
  private readonly donor: WholeModel;
  private readonly method: (typeof METHODS)[string];
  private readonly parts = new Map<string, Part>();
  private readonly outlines = new Map<WholeModel, Map<string, Outline>>();
  private readonly layout: Shard[];
  readonly config: ModelConfig;

  constructor(private readonly recipe: Recipe, private readonly models: ReadonlyMap<string, WholeModel>, private readonly seed: number) {
    this.method = METHODS[recipe.method];
    this.donor = models.get(recipe.base ?? recipe.slices[0].sources[0].model)!;
    for (const model of models.values()) this.outlines.set(model, new Map(model.shards().flatMap((s) => s.tensors.map((t) => [t.name, t]))));
    for (const slice of recipe.slices) this.checkSlice(slice);
    const depth = this.plan();
    const outline = (name: string): Outline => this.parts.get(name)!.outline;
    const kept = this.donor.shards().map((s) => ({ ...s, tensors: s.tensors.filter((t) => this.parts.has(t.name)).map((t) => outline(t.name)) }));
    this.layout = recipe.whole ? kept : reshard([{ ...kept[0], tensors: [...this.parts.values()].map((p) => p.outline) }], SHARD_BYTES);
    this.config = this.configOf(depth);
  }

  get path(): string {
    return this.donor.path;
  }

  get files(): readonly string[] {
    return this.donor.files;
  }

  shards(): Shard[] {
    return this.layout;
  }

  *data({ name, dtype }: Outline): Iterable<Uint8Array> {
    const part = this.parts.get(name)!;
    if (!isFloat(dtype)) {
      const { model, layers } = part.slice.sources[0];
      return yield* this.models.get(model)!.data(this.find(model, name, part, layers));
    }
    yield encode(this.compute(part), dtype);
  }

  close(): void {
    for (const model of this.models.values()) model.close();
  }

  private baseOf(slice: Slice): string | null {
    return slice.base ?? this.recipe.base;
  }

  private checkSlice(slice: Slice): void {
    const { path, method, whole } = this.recipe, { sources } = slice;
    const base = this.baseOf(slice), listed = sources.some((s) => s.model === base);
    const task = mergingMethod(this.method.name).needsBase;
    if ((task || method === 'slerp') && base === null) throw dataError(`${path}: base_model is missing: ${method} needs one`);
    if (!task && method !== 'slerp' && base !== null && !listed) throw dataError(`${path}: base_model has no part in ${method}: leave it out, or list it among the models`);
    if (!whole && base !== null && !listed) throw dataError(`${path}: base_model must be among the sources of each slice, with its own layer_range`);
    const others = sources.filter((s) => s.model !== base).length;
    if (method === 'slerp' && others !== 1) throw dataError(`${path}: slerp merges base_model and one other, not ${others} others`);
    if (method === 'passthrough' && sources.length !== 1) throw dataError(`${path}: passthrough takes one model, not ${sources.length}`);
    for (const { model, layers } of sources) {
      const depth = depthOf(this.models.get(model)!.config);
      if (layers && (depth === null || layers[1] > depth)) throw dataError(`${path}: layer_range [${layers}]: ${model} has ${depth ?? 'no'} layers`);
      if (layers && layers[1] - layers[0] !== sources[0].layers![1] - sources[0].layers![0]) throw dataError(`${path}: the sources of a slice have different numbers of layers`);
    }
  }

  /** Lays out what is made: what comes before the layers is the first slice's, what comes after them the last one's. */
  private plan(): number {
    const { slices } = this.recipe;
    const first = (slice: Slice): Outline[] => [...this.outlines.get(this.recipe.whole ? this.donor : this.models.get(slice.sources[0].model)!)!.values()];
    const add = (outline: Outline, slice: Slice, offset: number | null, position: number): void => {
      const dtype = isFloat(outline.dtype) ? this.recipe.outDtype ?? this.recipe.dtype ?? outline.dtype : outline.dtype;
      this.parts.set(outline.name, { outline: { ...outline, dtype }, slice, offset, position });
    };
    for (const t of first(slices[0])) if (!LAYER.test(t.name) && before(t.name)) add(t, slices[0], null, 0);
    let depth = 0;
    for (const slice of slices) {
      const model = this.recipe.whole ? this.donor : this.models.get(slice.sources[0].model)!;
      const [from, to] = slice.sources[0].layers ?? [0, depthOf(model.config) ?? 0];
      for (const t of first(slice)) {
        const [, head, number, tail] = LAYER.exec(t.name) ?? [];
        const offset = Number(number) - from;
        if (number === undefined || offset < 0 || offset >= to - from) continue;
        add({ ...t, name: `${head}${depth + offset}${tail}` }, slice, offset, to - from > 1 ? offset / (to - from - 1) : 1);
      }
      depth += to - from;
    }
    const last = slices[slices.length - 1];
    for (const t of first(last)) if (!LAYER.test(t.name) && !before(t.name)) add(t, last, null, 0);
    return depth;
  }

  private configOf(depth: number): ModelConfig {
    const { config } = this.donor, dtype = this.recipe.outDtype ?? this.recipe.dtype;
    const key = 'n_layer' in config ? 'n_layer' : 'num_hidden_layers';
    const kind = 'dtype' in config ? 'dtype' : 'torch_dtype';
    return { ...config, ...(this.recipe.whole ? {} : { [key]: depth }), ...(dtype ? { [kind]: TORCH[dtype] } : {}) };
  }

  /** The tensor of a source that an output tensor is made from. */
  private find(model: string, name: string, { offset, outline }: Part, layers: [number, number] | null): Outline {
    const own = offset === null ? name : name.replace(LAYER, (_, head, __, tail) => `${head}${(layers?.[0] ?? 0) + offset}${tail}`);
    const found = this.outlines.get(this.models.get(model)!)!.get(own);
    if (!found) throw dataError(`${model}: has no tensor '${own}', which the merged model needs`);
    if (found.shape.join() !== outline.shape.join()) throw dataError(`'${own}' is [${outline.shape}] in ${this.donor.path} and [${found.shape}] in ${model}: only tensors of one shape merge`);
    return found;
  }

  private compute(part: Part): Float32Array {
    const { recipe, method } = this, { slice, outline: { name }, position } = part;
    const base = this.baseOf(slice), merging = mergingMethod(method.name);
    const read = ({ model, layers }: Pick<Source, 'model' | 'layers'>): { name: string; values: Float32Array } => {
      const tensor = this.find(model, name, part, layers);
      const values = floats(this.models.get(model)!, tensor);
      return { name: tensor.name, values: recipe.dtype ? rounded(values, recipe.dtype) : values };
    };
    const outer = [slice.parameters, recipe.parameters];
    const value = (key: string, tensor: string, levels: readonly Settings[], fallback?: number): number => {
      const found = resolve(key, tensor, position, levels) ?? fallback;
      if (found === undefined) throw dataError(`${recipe.path}: ${recipe.method} needs the parameter ${key}, and nothing gives it for '${tensor}'`);
      return Number(found);
    };
    const shared = (key: string, fallback: boolean): boolean => Boolean(resolve(key, name, position, outer) ?? fallback);
    const ground = base === null ? null : read(slice.sources.find((s) => s.model === base) ?? { model: base, layers: null }).values;
    if (recipe.method === 'slerp') {
      const other = read(slice.sources.find((s) => s.model !== base)!);
      return merging.merge({ name, base: null, models: [ground!, other.values], weights: [1, 1] }, { t: value('t', name, outer) });
    }
    const sources = merging.needsBase ? slice.sources.filter((s) => s.model !== base) : slice.sources;
    const tensors = sources.map(read);
    if (tensors.length === 0) return ground!;
    const own = (key: string, fallback?: number): number[] => sources.map((s, i) => value(key, tensors[i].name, [s.parameters, ...outer], fallback));
    const models = tensors.map((t) => t.values);
    if (recipe.method === 'passthrough') return merging.merge({ name, base: null, models, weights: own('scale', 1) }, { normalize: false });
    const weights = own('weight'), densities = merging.needsBase ? own('density', 1) : undefined;
    return merging.merge({ name, base: ground, models, weights, densities }, {
      normalize: shared('normalize', recipe.method === 'linear' || recipe.method === 'ties'), lambda: value('lambda', name, outer, 1), seed: this.seed,
      rescale: shared('rescale', recipe.method.startsWith('dare')) ? 'norm' : 'none',
    });
  }
}

/** Tables that come before the layers; what else stands outside them comes after. */
const before = (name: string): boolean => /embed|wte|wpe/.test(name);

/** How many layers a model has. */
function depthOf(config: ModelConfig): number | null {
  const depth = config.num_hidden_layers ?? config.n_layer;
  return typeof depth === 'number' ? depth : null;
}

/** The values a float type can hold. */
const rounded = (values: Float32Array, dtype: FloatDtype): Float32Array => (dtype === 'F32' ? values : decode(encode(values, dtype), dtype) as Float32Array);
