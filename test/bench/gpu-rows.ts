/** The work of `npm run bench:gpu`. */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { blankHalf, readConfig } from './blank.js';
import { decoderFlop, encoderFlop, type Training, type Work } from './work.js';

export interface Row {
  name: string;
  /** What one run does so many of. */
  unit: string;
  units: number;
  /** Both sides together do not fit the card. */
  large?: boolean;
  /** What repeating may take; setting up comes on top. */
  seconds: number;
  make(): Promise<Work>;
}

export interface Place { tiny: boolean; root: string; folder: string; graft(...args: string[]): void }

/** What makes each model small, for --tiny. */
const TINY: Record<string, object> = {
  bert: { hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 4, intermediate_size: 48 },
  vit: { hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 4, intermediate_size: 48, image_size: 32 },
  llama: { hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2, intermediate_size: 48 },
  resnet: { embedding_size: 8, hidden_sizes: [16, 16, 24, 32], depths: [1, 1, 1, 1] },
};

/** Layers of the 7B whose start is measured: one after another, each like any other. */
const STARTED = 4;

export function gpuRows({ tiny, root, folder, graft }: Place): Row[] {
  const small = (full: number, least: number): number => (tiny ? least : full);
  const tokenizer = join(root, 'fixtures/encoder/tokenizer.json');
  const configOf = (name: string, more: object = {}): ReturnType<typeof readConfig> => {
    const config = readConfig(join(root, `test/bench/configs/${name}.json`));
    return { ...config, ...more, ...(tiny && TINY[config.model_type]) };
  };
  const checkpoint = (name: string, more: object = {}): Promise<string> => blankHalf({ folder, name: `${name}${'num_hidden_layers' in more ? '-part' : ''}`, config: configOf(name, more), tokenizer });
  const repeat = (rows: number, length: number): number[] => new Array<number>(rows).fill(length);

  const texts = (name: string, of: string, [rows, length]: [number, number], how: Training & { full?: boolean }, more: Partial<Row> = {}): Row => {
    const batches = [repeat(small(rows, 2), small(length, 16))], c = configOf(of) as unknown as Record<string, number>;
    const pass = how.task === 'clm'
      ? decoderFlop({ d: c.hidden_size, shared: c.hidden_size * c.num_key_value_heads / c.num_attention_heads, inner: c.intermediate_size, layers: c.num_hidden_layers, vocabulary: c.vocab_size }, batches)
      : encoderFlop({ d: c.hidden_size, inner: c.intermediate_size, layers: c.num_hidden_layers }, batches);
    return {
      name: `${name} ${of} ${rows}×${length}`, unit: 'tokens/s', units: batches[0].reduce((a, b) => a + b, 0), seconds: 6, ...more,
      // Forward, and back through the activations; a full step forms the weights' gradients too. What is computed twice is not counted twice.
      make: async () => ({ name, kind: 'train', model: await checkpoint(of), batches, precision: 'bf16', flop: (how.full ? 3 : 2) * pass, ...how }),
    };
  };
  const lora: Training = { rank: 16, everywhere: true }, speaking: Training = { ...lora, task: 'clm' };
  const images = small(64, 2), side = small(224, 32), c = configOf('vit-base') as unknown as Record<string, number>;
  const seeing: Row = {
    name: 'LoRA step vit-base 64×224×224', unit: 'images/s', units: images, seconds: 6,
    make: async () => ({
      name: 'vit', kind: 'train', model: await checkpoint('vit-base'), batches: [], images, side, precision: 'bf16', ...lora,
      flop: 2 * encoderFlop({ d: c.hidden_size, inner: c.intermediate_size, layers: c.num_hidden_layers }, [repeat(images, (side / 16) ** 2 + 1)]),
    }),
  };
  const speaks = (of: string, rows: number, more: Partial<Row> = {}): Row => {
    const tokens = small(129, 5), together = small(rows, Math.min(rows, 3));
    return { name: `generation ${of}, batch ${rows}`, unit: 'tokens/s', units: (tokens - 1) * together, seconds: 12, ...more, make: async () => ({ name: of, kind: 'generate', model: await checkpoint(of), tokens, rows: together, precision: 'bf16' }) };
  };
  const adapts = (method: string): Row => ({
    name: `${method} resnet-50, batch 64`, unit: 'images/s', units: images, seconds: 8, make: async () => ({ name: method, kind: 'tta', weights: await checkpoint('resnet-50'), method, batch: images, size: side }),
  });
  const part = { num_hidden_layers: small(STARTED, 2) };
  const starts = (method: 'pissa' | 'eva' | 'corda'): Row => ({
    name: `${method} start llama-7b, ${STARTED} of 32 layers, r=16`, unit: 'layers/s', units: part.num_hidden_layers, seconds: 10, large: true,
    make: async () => {
      const model = await checkpoint('llama-7b', part), start = join(folder, 'start.safetensors'), data = join(folder, 'texts.jsonl'), [rows, length, batches] = [small(4, 2), small(512, 16), 4];
      if (!existsSync(start)) graft('init-adapter', '-m', model, '--rank', String(small(16, 4)), '--target-modules', 'all-linear', '-o', start);
      if (!existsSync(data)) writeFileSync(data, Array.from({ length: rows * batches }, (_, i) => `${JSON.stringify({ text: Array.from({ length }, (_, t) => WORDS[(i * 31 + t * t * 7 + ((i * t) >> 2)) % WORDS.length]).join(' ') })}\n`).join(''));
      return { name: method, kind: 'init', model, method, rank: small(16, 4), start, data, batches: Array.from({ length: batches }, () => repeat(rows, length)) };
    },
  });

  const product = small(8192, 64);
  return [
    {
      name: `product in bf16, ${product}³`, unit: 'products/s', units: 10, seconds: 3,
      make: async () => ({ name: 'product', kind: 'product', m: product, k: product, n: product, tb: true, frozen: true, precision: 'bf16', times: 10, flop: 20 * product ** 3 }),
    },
    texts('LoRA step', 'bert-base', [32, 128], lora),
    texts('full step', 'bert-base', [32, 128], { full: true }),
    seeing,
    texts('LoRA step', 'llama-1b', [4, 2048], speaking),
    texts('LoRA step, checkpointing,', 'llama-1b', [4, 2048], { ...speaking, recompute: true }),
    texts('LoRA step', 'llama-7b', [4, 2048], speaking, { large: true, seconds: 16 }),
    texts('LoRA step, checkpointing,', 'llama-7b', [4, 2048], { ...speaking, recompute: true }, { large: true, seconds: 16 }),
    texts('QLoRA step', 'llama-7b', [4, 2048], { ...speaking, stored: 'nf4' }, { large: true, seconds: 16 }),
    texts('QLoRA step, checkpointing,', 'llama-7b', [4, 2048], { ...speaking, stored: 'nf4', recompute: true }, { large: true, seconds: 16 }),
    speaks('llama-1b', 1), speaks('llama-1b', 64), speaks('llama-7b', 1, { large: true }), speaks('llama-7b', 64, { large: true }),
    adapts('tent'), adapts('cotta'),
    starts('pissa'), starts('eva'), starts('corda'),
  ];
}

const WORDS = 'alpha beta gamma delta run walk stop go red green blue small large old new king queen river stone cloud'.split(' ');
