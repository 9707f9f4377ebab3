import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Rng } from '@graft/kernels/random';

const GRAFT = fileURLToPath(new URL('../../../bin/graft.js', import.meta.url));

export interface Ran { status: number | null; stdout: Buffer; stderr: string }

/** Runs the command line as a user would. */
export function graft(args: readonly string[], input?: Buffer): Ran {
  const { status, stdout, stderr } = spawnSync(process.execPath, [GRAFT, ...args], { input, maxBuffer: 1 << 28 });
  return { status, stdout, stderr: stderr.toString() };
}

/** The same, failing the test with the command's own words where it fails. */
export function must(args: readonly string[], input?: Buffer): Buffer {
  const { status, stdout, stderr } = graft(args, input);
  if (status !== 0) throw new Error(`graft ${args.join(' ')}: status ${status}: ${stderr}`);
  return stdout;
}

/** Starts a command, and sends it a signal once `ready` says so; gives its exit status, null where the signal ended it. */
export function interruptWhen(args: readonly string[], signal: NodeJS.Signals, ready: () => boolean): Promise<number | null> {
  const child = spawn(process.execPath, [GRAFT, ...args], { stdio: 'ignore' });
  const timer = setInterval(() => {
    if (!ready()) return;
    clearInterval(timer);
    child.kill(signal);
  }, 5);
  return new Promise((resolve) => child.once('close', (status) => {
    clearInterval(timer);
    resolve(status);
  }));
}

/** A folder that goes away with the process. */
export function scratch(): string {
  const path = mkdtempSync(join(tmpdir(), 'graft-test-'));
  process.on('exit', () => rmSync(path, { recursive: true, force: true }));
  return path;
}

const WORDS = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', ...Array.from({ length: 45 }, (_, i) => `w${i}`)];

const BERT = {
  architectures: ['BertModel'], model_type: 'bert', hidden_act: 'gelu', hidden_size: 32, initializer_range: 0.1, intermediate_size: 48, layer_norm_eps: 1e-12,
  max_position_embeddings: 32, num_attention_heads: 4, num_hidden_layers: 2, pad_token_id: 0, type_vocab_size: 2, vocab_size: WORDS.length,
};

const special = (id: number): object => ({ id, content: WORDS[id], single_word: false, lstrip: false, rstrip: false, normalized: false, special: true });

/** A word-level tokeniser with BERT's frame. */
const TOKENIZER = {
  version: '1.0', truncation: null, padding: null, added_tokens: [0, 1, 2, 3, 4].map(special),
  normalizer: null, pre_tokenizer: { type: 'Whitespace' }, decoder: null,
  post_processor: {
    type: 'TemplateProcessing',
    single: [{ SpecialToken: { id: '[CLS]', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }, { SpecialToken: { id: '[SEP]', type_id: 0 } }],
    pair: [{ SpecialToken: { id: '[CLS]', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }, { SpecialToken: { id: '[SEP]', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }, { SpecialToken: { id: '[SEP]', type_id: 1 } }],
    special_tokens: { '[CLS]': { id: '[CLS]', ids: [2], tokens: ['[CLS]'] }, '[SEP]': { id: '[SEP]', ids: [3], tokens: ['[SEP]'] } },
  },
  model: { type: 'WordLevel', vocab: Object.fromEntries(WORDS.map((w, i) => [w, i])), unk_token: '[UNK]' },
};

/** A blank two-layer encoder with a tokeniser, in a folder of its own. @returns the checkpoint's path */
export function tinyBert(folder: string): string {
  writeFileSync(join(folder, 'bert.json'), JSON.stringify(BERT));
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(TOKENIZER));
  const path = join(folder, 'bert');
  must(['init-model', '-c', join(folder, 'bert.json'), '-o', path, join(folder, 'tokenizer.json')]);
  return path;
}

/** A blank two-layer decoder whose tokeniser puts nothing around a text, in a folder of its own. @returns the checkpoint's path */
export function tinyDecoder(folder: string): string {
  const { post_processor: _, ...tokenizer } = TOKENIZER, [config, words, path] = ['gpt2.json', 'tokenizer.json', 'gpt2'].map((f) => join(folder, f));
  writeFileSync(config, JSON.stringify({
    architectures: ['GPT2LMHeadModel'], model_type: 'gpt2', n_embd: 32, n_layer: 2, n_head: 4, n_positions: 64, vocab_size: WORDS.length, initializer_range: 0.3, eos_token_id: 3, tie_word_embeddings: true,
  }));
  writeFileSync(words, JSON.stringify({ ...tokenizer, post_processor: null }));
  must(['init-model', '-c', config, '-o', path, words]);
  return path;
}

/** The shapes of `graft data make shapes10`. */
const SHAPES = ['disc', 'ring', 'square', 'frame', 'triangle', 'plus', 'cross', 'horizontal-stripes', 'vertical-stripes', 'checker'];

/** A blank diffusion model of 8×8 images under shapes as conditions, in a folder of its own. @returns the checkpoint's path */
export function tinyUnet(folder: string): string {
  const config = join(folder, 'unet.json'), path = join(folder, 'unet');
  writeFileSync(config, JSON.stringify({
    model_type: 'unet-2d-condition', sample_size: 8, in_channels: 3, out_channels: 3, block_out_channels: [8, 8], layers_per_block: 1, norm_num_groups: 4, num_train_timesteps: 20,
    down_block_types: ['DownBlock2D', 'CrossAttnDownBlock2D'], up_block_types: ['CrossAttnUpBlock2D', 'UpBlock2D'], cross_attention_dim: 8, attention_head_dim: 2,
    id2label: Object.fromEntries(SHAPES.map((name, i) => [i, name])),
  }));
  must(['init-model', '-c', config, '-o', path]);
  return path;
}

/** Sentences of random words whose label is whether the words of the first half outnumber the others. */
export function tinyRows(n: number, seed: number): { text: string; label: number }[] {
  const rng = new Rng('rows', seed);
  return Array.from({ length: n }, () => {
    const words = Array.from({ length: 5 + rng.integer(8) }, () => rng.integer(45));
    return { text: words.map((w) => `w${w}`).join(' '), label: words.filter((w) => w < 22).length * 2 > words.length ? 1 : 0 };
  });
}

/** Writes rows as JSON lines. @returns the path */
export function jsonLines(path: string, rows: readonly object[]): string {
  writeFileSync(path, rows.map((r) => `${JSON.stringify(r)}\n`).join(''));
  return path;
}
