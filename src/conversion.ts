import { concatenateLora } from './merging/concatenate.js';
import { fold } from './merging/exact.js';
import { unfolds, unfolded } from './merging/unfold.js';
import { reshard, TORCH, type Outline, type WholeModel } from './merging/stream.js';
import { dataError } from './errors.js';
import { openCheckpoint } from './formats/checkpoint.js';
import { decode, encode, isFloat, type FloatDtype } from './formats/dtype.js';
import { checkFits, type Graft, type StoredTensor } from './formats/graft.js';
import { alignNames } from './formats/naming.js';
import { peftForm } from './formats/peft.js';
import { FORMS } from './formats/peft-forms.js';
import { loadModel } from './models/registry.js';

/** The graft in a form PEFT has; a moved start and allocated ranks become plain LoRA. @throws GraftError (1) for a method PEFT lacks */
export function asPlainLora(graft: Graft): Graft {
  if (unfolds(graft)) return unfolded(graft);
  peftForm(graft.method);
  if (graft.method !== 'lora' || !graft.config.residual) return graft;
  const plain = concatenateLora([{ graft, weight: 1 }]);
  for (const [name, tensor] of graft.tensors) if (!/\.lora_(embedding_)?[AB]0?(\.weight|\.bias)?$/.test(name)) plain.tensors.set(name, tensor);
  return plain;
}

/** An adapter from elsewhere as a graft for this model: its modules named as there. @throws GraftError (65) where it does not fit */
export async function asGraftFor(path: string, graft: Graft): Promise<Graft> {
  const checkpoint = await openCheckpoint(path);
  const aligned = alignNames(graft, checkpoint);
  checkFits(aligned, checkpoint);
  const fitted = { ...aligned, base: checkpoint.fingerprint() };
  checkpoint.close();
  return fitted;
}

/** A graft without a head with that of the model, where PEFT runs it for a task alone. */
export async function withTask(path: string, graft: Graft): Promise<Graft> {
  if (graft.head || !FORMS.some((f) => f.method === graft.method && f.tasked)) return graft;
  const checkpoint = await openCheckpoint(path);
  try {
    const model = await loadModel(checkpoint), { head } = model;
    const own = head ? model.headTensors(head).filter((t) => checkpoint.has(t.name)) : [];
    const stored = own.map(({ name }): [string, StoredTensor] => {
      const { dtype, shape } = checkpoint.info(name);
      return [name, { dtype: dtype as StoredTensor['dtype'], shape: [...shape], data: checkpoint.read(name) }];
    });
    return { ...graft, head, tensors: new Map([...graft.tensors, ...stored]) };
  } finally {
    checkpoint.close();
  }
}

/** The graft with its floats in another type. */
export function castGraft(graft: Graft, dtype: FloatDtype): Graft {
  return { ...graft, tensors: new Map([...graft.tensors].map(([name, tensor]) => [name, cast(name, tensor, dtype)])) };
}

function cast(name: string, tensor: StoredTensor, dtype: FloatDtype): StoredTensor {
  if (!isFloat(tensor.dtype)) return tensor;
  const values = decode(tensor.data, tensor.dtype);
  if (!(values instanceof Float32Array)) throw dataError(`tensor '${name}' is ${tensor.dtype}, which cannot be cast`);
  return { dtype, shape: tensor.shape, data: encode(values, dtype) };
}

/**
 * A checkpoint with its floats in another type, in shards of at most `shardBytes`; a tensor larger than that stands alone.
 * Without either it stays as it is.
 */
export async function asCheckpoint(path: string, dtype: FloatDtype | undefined, shardBytes: number | undefined): Promise<WholeModel> {
  const model = await fold(await openCheckpoint(path), []);
  const became = (t: Outline): Outline => (dtype && isFloat(t.dtype) ? { ...t, dtype } : t);
  const kept = model.shards();
  const source = new Map(kept.flatMap((s) => s.tensors.map((t) => [t.name, t])));
  const shards = kept.map((s) => ({ ...s, tensors: s.tensors.map(became) }));
  return {
    path, files: model.files, config: dtype && 'torch_dtype' in model.config ? { ...model.config, torch_dtype: TORCH[dtype] } : model.config,
    shards: () => (shardBytes ? reshard(shards, shardBytes) : shards),
    *data(tensor) {
      const from = source.get(tensor.name)!;
      for (const piece of model.data(from)) yield from.dtype === tensor.dtype ? piece : encode(decode(piece, from.dtype) as Float32Array, tensor.dtype as FloatDtype);
    },
    close: () => model.close(),
  };
}
