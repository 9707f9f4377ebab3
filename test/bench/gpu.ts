/**
 * `npm run bench:gpu [-- PART-OF-NAME...]` (graft-bench-gpu in the archive of pack:offline): graft-cuda beside PyTorch, transformers and PEFT on
 * the same card, the same work. Prints a line as each is done, and keeps all in test/bench/results/h200.json (or --output FILE), where
 * rows of an earlier run that are not done again stay. What fails, or is not there yet, is a row that says so.
 *
 *   --tiny            small sizes, on whatever `auto` is: does everything run? The figures mean nothing, and are not kept without --output
 *   --limit SECONDS   nothing is begun after that (default 560); runs are repeated less where time gets short
 *   --compile         PyTorch's training steps go through torch.compile, which takes a minute each
 *   GRAFT_BENCH_PYTHON  a Python with torch, transformers, peft, bitsandbytes (QLoRA) and attrs (CorDA); without it graft runs alone.  GRAFT_BENCH_FOLDER: room for 16 GB
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gpuRows, type Row } from './gpu-rows.js';
import { median, Side } from './side.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const { values: given, positionals: wanted } = parseArgs({
  options: { tiny: { type: 'boolean', default: false }, limit: { type: 'string', default: '560' }, compile: { type: 'boolean', default: false }, output: { type: 'string' } }, allowPositionals: true,
});
const LIMIT = Number(given.limit), PYTHON = process.env.GRAFT_BENCH_PYTHON, OUTPUT = given.output ?? (given.tiny ? undefined : join(ROOT, 'test/bench/results/h200.json'));
const folder = mkdtempSync(join(process.env.GRAFT_BENCH_FOLDER ?? tmpdir(), 'graft-bench-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
const began = performance.now(), left = (): number => LIMIT - (performance.now() - began) / 1000;

interface Figures { /** Units a second. */ rate?: number; seconds?: number; bytes?: number; runs?: number; /** What kept it from being done. */ missing?: string }
interface Result { name: string; unit: string; graft: Figures; peer?: Figures; /** How many times the peer's rate. */ ratio?: number; /** Of the peer's memory. */ memory?: number; teraflops?: number; compiled?: boolean }

/** So many runs even where they take twice the time that was meant for them. */
const LEAST = given.tiny ? 1 : 3;
const backend = given.tiny ? 'auto' : 'cuda', onCard = !given.tiny;
const own = (precision: string): Side => new Side(process.execPath, [join(ROOT, 'dist/test/bench/own.js'), '0', backend, precision]);

/** One Python for all rows, since starting it takes as long as a row; a new one where it ended. */
let python: Side | undefined;
function peer(): Side {
  if (!python || python.over) python = new Side(PYTHON!, [join(ROOT, 'test/bench/peers.py'), onCard ? '16' : '2', ...(onCard ? ['cuda'] : []), ...(given.compile ? ['compile'] : [])]);
  return python;
}

/** Runs in turns where both fit the card, and else one side after the other, three to seven times as the time allows. */
async function measure(row: Row): Promise<Result> {
  const work = await row.make(), until = performance.now() + 1000 * Math.min(row.seconds, left());
  const figures: Record<'graft' | 'peer', Figures> = { graft: {}, peer: {} }, times: Record<'graft' | 'peer', number[]> = { graft: [], peer: [] };
  const sides: ['graft' | 'peer', () => Side][] = [['graft', () => own(('stored' in work && work.stored) || (work.precision ?? 'f32'))], ...(PYTHON ? [['peer', peer] as ['peer', () => Side]] : [])];
  const close = (name: string, side: Side): unknown => (name === 'peer' ? side.over || side.ask({ close: true }, 60).catch(() => {}) : side.close());
  for (const group of row.large ? sides.map((s) => [s]) : [sides]) {
    const open: ['graft' | 'peer', Side][] = [], share = (until - performance.now()) / (row.large && group[0][0] === 'graft' && PYTHON ? 2 : 1), end = performance.now() + share;
    for (const [name, make] of group) {
      const side = make();
      try {
        await side.open(work, Math.max(20, left()));
        open.push([name, side]);
      } catch (error) {
        figures[name].missing = (error as Error).message;
        close(name, side);
      }
    }
    for (let r = 0; r < 7 && open.length > 0 && (r === 0 || performance.now() < end + (r < LEAST ? 1000 * row.seconds : 0)) && (r === 0 || left() > 0); r++) {
      for (const [name, side] of [...open]) {
        try {
          times[name].push(await side.seconds(Math.max(20, left())));
        } catch (error) {
          figures[name].missing = (error as Error).message;
          open.splice(open.findIndex(([n]) => n === name), 1);
          await close(name, side);
        }
      }
    }
    for (const [name, side] of open) figures[name].bytes = await side.bytes().catch(() => undefined);
    for (const [name, side] of open) await close(name, side);
  }
  for (const [name] of sides) {
    const { [name]: t } = times;
    if (t.length > 0 && !figures[name].missing) Object.assign(figures[name], { seconds: median(t), rate: row.units / median(t), runs: t.length });
  }
  const { graft, peer: theirs } = figures, both = graft.rate !== undefined && theirs.rate !== undefined;
  return {
    name: row.name, unit: row.unit, graft, ...(PYTHON && { peer: theirs }), ...(given.compile && { compiled: true }),
    ...(both && { ratio: row.large ? graft.rate! / theirs.rate! : median(times.graft.map((t, i) => (times.peer[i] ?? median(times.peer)) / t)), ...(graft.bytes && theirs.bytes && { memory: graft.bytes / theirs.bytes }) }),
    ...(work.flop && graft.seconds && { teraflops: work.flop / graft.seconds / 1e12 }),
  };
}

/** The card, the software, and what the card gives; from a process of its own, which leaves no memory taken. */
function rates(): { facts: Record<string, unknown>; rates: { name: string; value: number; unit: string }[] } {
  const { stdout, stderr, status } = spawnSync(process.execPath, [join(ROOT, 'dist/test/bench/rates.js'), ...(given.tiny ? ['--tiny'] : [])], { encoding: 'utf8' });
  if (status !== 0 && !given.tiny) throw new Error(`bench:gpu: ${(/Error: (.*)/.exec(stderr)?.[1] ?? stderr.trim().split('\n').at(-1))}`);
  const lines = stdout.split('\n').filter((l) => l.startsWith('{')).map((l) => JSON.parse(l));
  return { facts: lines.find((l) => 'gpu' in l) ?? {}, rates: lines.filter((l) => 'value' in l) };
}

const round = (x: number): number => Number(x.toPrecision(4));
const shown = (f: Figures | undefined): string => (!f ? '' : f.rate === undefined ? 'missing' : String(round(f.rate)));

const results: Result[] = [];
let facts: Record<string, unknown> = {};
function keep(): void {
  if (!OUTPUT) return;
  const before = existsSync(OUTPUT) ? (JSON.parse(readFileSync(OUTPUT, 'utf8')).results as Result[]) : [];
  mkdirSync(dirname(OUTPUT), { recursive: true });
  const rows = [...before.filter((b) => !results.some((r) => r.name === b.name && r.compiled === b.compiled)), ...results];
  writeFileSync(OUTPUT, `${JSON.stringify({ ...facts, results: rows }, (_, v) => (typeof v === 'number' ? round(v) : v), 2)}\n`);
}

try {
  const measured = rates();
  facts = { ...measured.facts, rates: measured.rates, ...(PYTHON && { peers: await peer().ask({ facts: true }, 120).catch((e: Error) => ({ missing: e.message })) }) };
  for (const { name, value, unit } of measured.rates) console.log(`${name.padEnd(58)}${value} ${unit}`);
} catch (error) {
  console.error((error as Error).message);
  process.exit(1);
}
console.log(`${'work'.padEnd(58)}${['unit', 'graft', 'peer', 'ratio', 'memory of it', 'TFLOP/s'].map((c) => c.padStart(13)).join('')}`);
for (const row of gpuRows({ tiny: given.tiny, root: ROOT, folder, graft: (...args) => execFileSync(process.execPath, [join(ROOT, 'bin/graft.js'), ...args], { stdio: ['ignore', 'ignore', 'inherit'] }) })) {
  if (wanted.length > 0 && !wanted.some((w) => row.name.includes(w))) continue;
  const r: Result = left() > 10 ? await measure(row).catch((e: Error) => ({ name: row.name, unit: row.unit, graft: { missing: e.message } }))
    : { name: row.name, unit: row.unit, graft: { missing: 'not done: the time was over' } };
  results.push(r);
  const cells = [r.unit, shown(r.graft), shown(r.peer), r.ratio?.toFixed(2) ?? '', r.memory?.toFixed(2) ?? '', r.teraflops ? round(r.teraflops) : ''];
  console.log(r.name.padEnd(58) + cells.map((c) => String(c).padStart(13)).join(''));
  for (const [who, f] of [['graft', r.graft], ['peer', r.peer]] as const) if (f?.missing) console.log(`    ${who}: ${f.missing.slice(0, 300)}`);
  keep();
}
python?.close();
console.log(`${results.filter((r) => !r.graft.missing).length} of ${results.length} done by graft, ${((performance.now() - began) / 1000).toFixed(0)} s${OUTPUT ? `; ${OUTPUT}` : ''}`);
