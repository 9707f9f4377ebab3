import { activate, tf, type Tensor, type Tensor1D, type Tensor2D } from '@graft/kernels';
import { dataError } from '../errors.js';
import { assemble } from './assemble.js';
import { count, counts, dropoutRate, real } from './config.js';
import type { Forward } from './forward.js';
import { MOST_SIDE } from './image.js';
import type { Batch, Features, Model, NoiseBatch } from './model.js';
import { Modules, type Headers } from './modules.js';
import { resnetBlock, spatialTransformer, type Context, type Widths } from './unet-blocks.js';

/** The table of conditions, as latent diffusion's ClassEmbedder names it (Rombach et al., 2022): a row a class, and a last one for none. */
export const CONDITIONS = 'cond_stage_model.embedding';

/** What config.json may leave out or say as it is here; diffusers' other variants are refused. */
const PLAIN: Record<string, unknown> = {
  act_fn: 'silu', flip_sin_to_cos: true, freq_shift: 0, downsample_padding: 1, mid_block_scale_factor: 1, time_embedding_type: 'positional', time_embedding_dim: null, time_embedding_act_fn: null,
  timestep_post_act: null, time_cond_proj_dim: null, class_embed_type: null, num_class_embeds: null, addition_embed_type: null, encoder_hid_dim: null, encoder_hid_dim_type: null,
  only_cross_attention: false, dual_cross_attention: false, center_input_sample: false, conv_in_kernel: 3, conv_out_kernel: 3, resnet_time_scale_shift: 'default', resnet_out_scale_factor: 1,
  resnet_skip_time_act: false, attention_type: 'default', cross_attention_norm: null, transformer_layers_per_block: 1,
};

/**
 * The UNet that predicts the noise in an image (Ho et al., 2020), conditioned through cross-attention (Rombach et al., 2022); modules as in
 * diffusers' UNet2DConditionModel. Conditions are classes, whose embeddings are rows of a table in the same checkpoint, one of them for
 * no condition; without blocks of cross-attention the network is unconditional. `hidden` is ε(x_t, t, c), [B, H, W, channels].
 */
export default function unet(checkpoint: Headers): Model {
  const m = new Modules(checkpoint), plan = planOf(checkpoint);
  const { widths, channels, cross, epsilon, groups } = plan, [first] = widths, embedded = 4 * first;
  const w: Widths = { groups, epsilon, embedded, cross, linear: checkpoint.config.use_linear_projection === true, dropout: dropoutRate(checkpoint, 'dropout', 0) };
  const rows = conditions(checkpoint);
  const table = plan.attends && rows > 0 ? m.embedding(CONDITIONS, 'condition', [rows, cross]) : null;
  const time = [m.linear('time_embedding.linear_1', 'time', [first, embedded]), m.linear('time_embedding.linear_2', 'time', [embedded, embedded])];
  const enter = m.conv('conv_in', 'conv', [channels, first], 3, 1, 1, true);

  let layer = 0;
  /** A residual block and, where the level attends, a transformer after it. */
  const stage = (at: string, j: number, from: number, to: number, attends: boolean, heads: number): Stage => {
    const blocks = [resnetBlock(m, layer++, `${at}.resnets.${j}`, [from, to], w)];
    if (attends) blocks.push(spatialTransformer(m, layer++, `${at}.attentions.${j}`, to, heads, w));
    return (f, x, temb, context) => blocks.reduce((h, block) => block(f, h, temb, context), x);
  };
  const resample = (at: string, dim: number, stride: number) => {
    const block = m.block(layer++, at, [dim, dim]), conv = m.conv(`${at}.conv`, 'conv', [dim, dim], 3, stride, 1, true);
    return (f: Forward, x: Tensor): Tensor => block(f, x, (z) => conv(f, stride === 1 ? twice(z) : z));
  };

  const down = widths.map((to, i) => {
    const at = `down_blocks.${i}`, from = widths[Math.max(0, i - 1)];
    const stages = Array.from({ length: plan.depth }, (_, j) => stage(at, j, j === 0 ? from : to, to, plan.down[i], plan.heads[i]));
    return { stages, sampler: i < widths.length - 1 ? resample(`${at}.downsamplers.0`, to, 2) : null };
  });
  const middle = plan.middle === null ? [] : [stage('mid_block', 0, widths.at(-1)!, widths.at(-1)!, plan.middle, plan.heads.at(-1)!)];
  if (plan.middle) middle.push(stage('mid_block', 1, widths.at(-1)!, widths.at(-1)!, false, 0));
  const up = [...widths].reverse().map((to, i, reversed) => {
    const at = `up_blocks.${i}`, before = reversed[Math.max(0, i - 1)], skipped = reversed[Math.min(reversed.length - 1, i + 1)];
    const stages = Array.from({ length: plan.depth + 1 }, (_, j) => stage(at, j, (j === 0 ? before : to) + (j === plan.depth ? skipped : to), to, plan.up[i], plan.heads.at(-1 - i)!));
    return { stages, sampler: i < widths.length - 1 ? resample(`${at}.upsamplers.0`, to, 1) : null };
  });
  m.layer = layer;
  const norm = m.norm('conv_norm_out', 'group', first, epsilon, 'norm', groups);
  const leave = m.conv('conv_out', 'conv', [first, channels], 3, 1, 1, true);

  const backbone = (f: Forward, batch: Batch): Features => {
    const { x, t, ids, mask, context: given } = batch as NoiseBatch;
    const temb = f.stem(() => activate(time[1](f, time[0](f, timeEmbedding(t, first), 'silu')), 'silu'));
    const context: Context = !plan.attends ? null : { x: given ?? f.stem(() => embed(f, x.shape[0], ids)), mask: mask ?? null };
    let h: Tensor = f.stem(() => enter(f, x));
    const skips = [h];
    for (const { stages, sampler } of down) {
      for (const run of stages) skips.push(h = run(f, h, temb, context));
      if (sampler) skips.push(h = sampler(f, h));
    }
    for (const run of middle) h = run(f, h, temb, context);
    for (const { stages, sampler } of up) {
      for (const run of stages) h = run(f, tf.concat([h, skips.pop()!], 3), temb, context);
      if (sampler) h = sampler(f, h);
    }
    return { hidden: leave(f, activate(norm(f, h), 'silu')), mask: null };
  };
  const embed = (f: Forward, images: number, ids: Tensor2D | undefined): Tensor => {
    if (!table) throw dataError(`${checkpoint.path}: has no table of conditions ('${CONDITIONS}.weight'), so it can only be run with embeddings from elsewhere`);
    return table(f, ids ?? tf.fill([images, 1], rows - 1, 'int32'));
  };
  return assemble(checkpoint, m, {
    input: 'noise', hiddenSize: channels, layers: layer, imageSize: plan.size, defaultTargets: ['to_q', 'to_k', 'to_v', 'to_out.0'], backbone,
    heads: { diffusion: { tensors: () => [], logits: (_, { hidden }) => hidden } }, width: { diffusion: `${CONDITIONS}.weight` },
  });
}

type Stage = (f: Forward, x: Tensor, temb: Tensor, context: Context) => Tensor;

/** Rows of the table of conditions: the classes that config.json names and one more. */
function conditions(checkpoint: Headers): number {
  const name = `${CONDITIONS}.weight`, { config } = checkpoint;
  if (!checkpoint.blank) return checkpoint.has(name) ? checkpoint.info(name).shape[0] : 0;
  const classes = Number(config.num_labels ?? Object.keys((config.id2label ?? {}) as object).length);
  return classes > 0 ? classes + 1 : 0;
}

/** config.json as diffusers writes it. @throws GraftError (65) for a variant that is not this one */
function planOf(checkpoint: Headers) {
  const { config, path } = checkpoint;
  const bad = (key: string, why: string): Error => dataError(`${path}/config.json: '${key}' is ${JSON.stringify(config[key])}${why}`);
  for (const [key, value] of Object.entries(PLAIN)) if ((config[key] ?? value) !== value) throw bad(key, `; of UNet2DConditionModel only ${JSON.stringify(value)} is built`);
  const widths = counts(checkpoint, 'block_out_channels', [320, 640, 1280, 1280], 2 ** 20);
  const blocks = (key: string, plain: string, attending: string): boolean[] => {
    const value = config[key];
    if (!Array.isArray(value) || value.length !== widths.length || !value.every((v) => v === plain || v === attending)) throw bad(key, `, it must list ${widths.length} of ${plain} and ${attending}`);
    return value.map((v) => v === attending);
  };
  const down = blocks('down_block_types', 'DownBlock2D', 'CrossAttnDownBlock2D'), up = blocks('up_block_types', 'UpBlock2D', 'CrossAttnUpBlock2D');
  const centre = config.mid_block_type === undefined ? 'UNetMidBlock2DCrossAttn' : config.mid_block_type;
  if (centre !== null && centre !== 'UNetMidBlock2DCrossAttn' && centre !== 'UNetMidBlock2D') throw bad('mid_block_type', ', it must be UNetMidBlock2DCrossAttn, UNetMidBlock2D or null');
  const middle = centre === null ? null : centre === 'UNetMidBlock2DCrossAttn';
  const channels = count(checkpoint, 'in_channels', 4);
  if (count(checkpoint, 'out_channels', 4) !== channels) throw bad('out_channels', `, but there are ${channels} in_channels; noise is predicted for each`);
  // What diffusers calls attention_head_dim here is the number of heads.
  const key = config.num_attention_heads ? 'num_attention_heads' : 'attention_head_dim', given = config[key] ?? 8;
  const heads = Array.isArray(given) ? counts(checkpoint, key, [], 2 ** 16) : widths.map(() => count(checkpoint, key, 8));
  if (heads.length !== widths.length) throw bad(key, `, it must be one number or ${widths.length}`);
  const groups = count(checkpoint, 'norm_num_groups', 32);
  if (widths.some((n) => n % groups !== 0)) throw bad('norm_num_groups', `, which does not divide the channels ${widths.join(', ')}`);
  const attends = middle === true || [...down, ...up].includes(true);
  return { widths, channels, down, up, middle, heads, groups, attends, size: sides(checkpoint, 2 ** (widths.length - 1)), depth: count(checkpoint, 'layers_per_block', 2, [1, 64]), cross: attends ? count(checkpoint, 'cross_attention_dim', 1280) : 0, epsilon: real(checkpoint, 'norm_eps', 1e-5) };
}

/** [height, width] of the images, which every level but the first halves. */
function sides(checkpoint: Headers, divisor: number): readonly [number, number] {
  const given = checkpoint.config.sample_size;
  const [h, w] = Array.isArray(given) ? counts(checkpoint, 'sample_size', [], MOST_SIDE) : [count(checkpoint, 'sample_size', undefined, [1, MOST_SIDE])];
  const size = [h, w ?? h] as const;
  if (size.some((n) => n % divisor !== 0)) throw dataError(`${checkpoint.path}/config.json: 'sample_size' is ${JSON.stringify(given)}, it must be a multiple of ${divisor}`);
  return size;
}

/** cos and sin of t at `dim`/2 frequencies from 1 to nearly 1/10000: [B, dim]. */
function timeEmbedding(t: Tensor1D, dim: number): Tensor {
  const half = Math.floor(dim / 2), frequencies = Float32Array.from({ length: half }, (_, i) => Math.exp((-Math.log(10000) * i) / half));
  const angles = tf.mul(tf.reshape(t, [-1, 1]), tf.tensor2d(frequencies, [1, half]));
  const both = tf.concat([tf.cos(angles), tf.sin(angles)], 1);
  return dim % 2 === 0 ? both : tf.pad(both, [[0, 0], [0, 1]]);
}

/** Every pixel four times: twice along each side. [B, H, W, C] → [B, 2H, 2W, C]. */
function twice(x: Tensor): Tensor {
  const [B, H, W, C] = x.shape as number[];
  const wide = tf.reshape(tf.concat([x, x], 3), [B, H, 2 * W * C]);
  return tf.reshape(tf.concat([wide, wide], 2), [B, 2 * H, 2 * W, C]);
}
