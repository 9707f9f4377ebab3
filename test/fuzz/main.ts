// npm run test:fuzz -- --count N --seed S --reader NAME: damaged files for every reader. Anything but success or an error in one line is
// a finding: printed, and kept with its input in out/fuzz/.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { locate, run, type Finding, type Task } from './child.js';
import { READERS } from './readers.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/** An input that takes longer hangs. */
const LONGEST_MS = 45_000;
/** MiB that one input may add to what the process ever held. */
const MOST_MIB = 400;

/** Each input of these starts a thread: they get fewer. */
const SLOW: Record<string, number> = { parquet: 0.05, 'import-columns': 0.05 };

export interface Fuzz { count: number; seed: number; readers?: string[]; folder?: string; say?: (line: string) => void }

/** Spreads `count` inputs over the readers; a child that dies or hangs is replaced behind the input that did it. */
export async function fuzz({ count, seed, readers = Object.keys(READERS), folder = join(ROOT, 'out/fuzz'), say = () => {} }: Fuzz): Promise<{ done: number; findings: Finding[] }> {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const weight = (name: string): number => SLOW[name] ?? 1, whole = readers.reduce((n, name) => n + weight(name), 0);
  const shares = readers.map((name): [string, number] => [name, Math.ceil(count * weight(name) / whole)]);
  const total = shares.reduce((n, [, share]) => n + share, 0);
  const findings = join(folder, 'findings.jsonl'), progress = join(folder, 'progress');
  writeFileSync(findings, '');
  for (let from = 0; from < total;) {
    // Fresh processes now and then: what one input leaves behind must not hide what the next one takes.
    const to = Math.min(total, from + 4000);
    writeFileSync(progress, '');
    const end = await child({ readers: shares, seed, from, to, folder, findings, progress, most: MOST_MIB });
    const at = Number(readFileSync(progress, 'utf8').trim().split('\n').at(-1));
    if (end === 0) {
      from = to;
      say(`${from} of ${total}: ${locate(shares, from - 1).name}`);
      continue;
    }
    if (!(at >= from)) throw new Error(`the whole files of a reader could not be read: ${end}`);
    const { name: reader, index } = locate(shares, at);
    const finding: Finding = { reader, seed, index, kind: end === 'hang' ? 'hang' : 'crash', message: String(end) };
    writeFileSync(findings, `${readFileSync(findings, 'utf8')}${JSON.stringify(finding)}\n`);
    from = at + 1;
  }
  return { done: total, findings: readFileSync(findings, 'utf8').split('\n').filter((l) => l !== '').map((l) => JSON.parse(l) as Finding) };
}

/** @returns 0, or how the child ended */
function child(task: Task): Promise<number | string> {
  const running = spawn(process.execPath, ['--max-old-space-size=700', fileURLToPath(import.meta.url), '--task', JSON.stringify(task)], { stdio: ['ignore', 'ignore', 'pipe'] });
  let hung = false, errors = '';
  running.stderr.on('data', (d: Buffer) => { errors = (errors + d.toString()).slice(-2000); });
  const watch = setInterval(() => {
    const idle = Date.now() - statSync(task.progress).mtimeMs;
    // Seeds take a while where the machine is busy.
    if (idle < (statSync(task.progress).size === 0 ? 4 : 1) * LONGEST_MS) return;
    hung = true;
    running.kill('SIGKILL');
  }, 500);
  return new Promise((resolve) => running.once('close', (status, signal) => {
    clearInterval(watch);
    resolve(hung ? 'hang' : status === 0 ? 0 : `${signal ?? `status ${status}`}: ${errors.trim()}`);
  }));
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { count: { type: 'string', default: '100000' }, seed: { type: 'string', default: '0' }, reader: { type: 'string', multiple: true }, folder: { type: 'string' }, task: { type: 'string' } } });
  if (values.task) return run(JSON.parse(values.task) as Task);
  for (const name of values.reader ?? []) if (!(name in READERS)) throw new Error(`--reader ${name}: one of ${Object.keys(READERS).join(', ')}`);
  const { done, findings } = await fuzz({ count: Number(values.count), seed: Number(values.seed), readers: values.reader, folder: values.folder, say: (line) => process.stderr.write(`${line}\n`) });
  for (const { reader, index, kind, message } of findings) console.log(`${reader} ${index}: ${kind}: ${message}`);
  console.log(`${done} inputs, ${findings.length} findings${findings.length > 0 ? ' (out/fuzz/findings.jsonl and the inputs beside it)' : ''}`);
  process.exitCode = findings.length > 0 ? 1 : 0;
}

if (existsSync(process.argv[1]) && process.argv[1] === fileURLToPath(import.meta.url)) {
  await main();
  process.exit(); // backends keep threads
}
