import type { OptionSpecs } from '../options.js';

/** Options that mean the same thing in every command. A command takes the ones it needs. */
const COMMON = {
  model: { type: 'string', alias: 'm', metavar: 'DIR', describe: 'the frozen checkpoint: a Hugging Face directory, or one safetensors file of a known architecture' },
  graft: { type: 'string', alias: 'g', metavar: 'FILE', describe: 'a graft to apply, or a PEFT directory; repeatable, applied in order; - is standard input', array: true },
  data: { type: 'string', alias: 'd', metavar: 'FILE', describe: 'data (Arrow, Parquet or JSON lines); - is standard input' },
  columns: { type: 'string', metavar: 'NEW=OLD,...', describe: 'rename columns while reading' },
  output: { type: 'string', incidental: true, writes: true, alias: 'o', metavar: 'PATH', describe: 'where to write; default: standard output' },
  deps: { type: 'string', incidental: true, writes: true, metavar: 'FILE', describe: 'write a make rule there: --output depends on every file this run read, as gcc -MF does' },
  batchSize: { type: 'number', metavar: 'N', describe: 'rows computed at once', default: 32, min: 1 },
  seed: { type: 'number', metavar: 'N', describe: 'the same seed gives the same bytes', default: 0 },
  backend: { type: 'string', incidental: true, metavar: 'NAME', describe: 'what computes', choices: ['auto', 'cpu', 'cuda', 'tensorflow', 'webgpu', 'wasm'], default: 'auto' },
  precision: { type: 'string', describe: 'what matrix products with frozen weights multiply in; sums stay f32. bf16 halves the memory of such weights and is up to twice as fast where the processor has bf16 instructions. int8 and nf4 keep the linear layers\' weights in 8 and 4.13 bits (heads stay whole) and multiply in bf16, as in LLM.int8() and QLoRA. tf32 is for --backend cuda: tensor cores round the operands of all products to 10 bits of fraction', choices: ['f32', 'tf32', 'bf16', 'int8', 'nf4'], default: 'f32' },
  threads: { type: 'number', incidental: true, metavar: 'N', describe: 'worker threads; default: one a core', min: 1 },
  log: { type: 'string', incidental: true, writes: true, metavar: 'FILE', describe: 'events and metrics as JSON lines, each written as it happens (see LOG)' },
  wait: { type: 'number', incidental: true, metavar: 'SECONDS', describe: 'how long to wait for another run that is at work on the same --state or --checkpoint', default: 0, min: 0 },
  progress: { type: 'string', incidental: true, describe: 'on standard error: a bar (auto and bar, on a terminal), a line every ten seconds, or nothing', choices: ['auto', 'bar', 'log', 'none'], default: 'auto' },
  quiet: { type: 'boolean', incidental: true, alias: 'q', describe: 'no progress, no warnings', default: false },
  json: { type: 'boolean', incidental: true, describe: 'print JSON instead of a table', default: false },
} as const satisfies OptionSpecs;

export type CommonOption = keyof typeof COMMON;

/** The named common options, to be spread into a command's own. */
export function common(...names: CommonOption[]): OptionSpecs {
  return Object.fromEntries(names.map((name) => [name, COMMON[name]]));
}

/** What every computing command takes. */
export const computing = (): OptionSpecs => common('backend', 'precision', 'threads', 'seed', 'progress', 'quiet');
