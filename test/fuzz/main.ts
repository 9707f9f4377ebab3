// npm run test:fuzz -- --count N --seed S --reader NAME: damaged files for every reader. Anything but success or an error in one line is
// a finding: printed, and kept with its input in out/fuzz/.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { run, type Finding, type Task } from './child.js';
import { READERS } from './readers.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/** An input that takes longer hangs. */
const LONGEST_MS = 30_000;
/** MiB that one input may add to what the process ever held. */
const MOST_MIB = 400;

export interface Fuzz { count: number; seed: number; readers?: string[]; folder?: string; say?: (line: string) => void }

/** Spreads `count` inputs over the readers; a child that dies or hangs is replaced behind the input that did it. */
export async function fuzz({ count, seed, readers = Object.keys(READERS), folder = join(ROOT, 'out/fuzz'), say = () => {} }: Fuzz): Promise<{ done: number; findings: Finding[] }> {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const perReader = Math.ceil(count / readers.length), total = perReader * readers.length;
  const findings = join(folder, 'findings.jsonl'), progress = join(folder, 'progress');
  writeFileSync(findings, '');
  for (let from = 0; from < total;) {
    // Fresh processes now and then: what one input leaves behind must not hide what the next one takes.
    const to = Math.min(total, from + 4000);
    writeFileSync(progress, '');
    const end = await child({ readers, seed, perReader, from, to, folder, findings, progress, most: MOST_MIB });
    const at = Number(readFileSync(progress, 'utf8').trim().split('\n').at(-1));
    if (end === 0) {
      from = to;
      say(`${from} of ${total}: ${readers[Math.floor((from - 1) / perReader)]}`);
      continue;
    }
    if (!(at >= from)) throw new Error(`the whole files of a reader could not be read: ${end}`);
    const finding: Finding = { reader: readers[Math.floor(at / perReader)], seed, index: at % perReader, kind: end === 'hang' ? 'hang' : 'crash', message: String(end) };
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
    if (idle < (statSync(task.progress).size === 0 ? 6 : 1) * LONGEST_MS) return;
    hung = true;
    running.kill('SIGKILL');
  }, 500);
  return new Promise((resolve) => running.once('close', (status, signal) => {
    clearInterval(watch);
    resolve(hung ? 'hang' : status === 0 ? 0 : `${signal ?? `status ${status}`}: ${errors.trim()}`);
  }));
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { count: { type: 'string', default: '100000' }, seed: { type: 'string', default: '0' }, reader: { type: 'string', multiple: true }, task: { type: 'string' } } });
  if (values.task) return run(JSON.parse(values.task) as Task);
  for (const name of values.reader ?? []) if (!(name in READERS)) throw new Error(`--reader ${name}: one of ${Object.keys(READERS).join(', ')}`);
  const { done, findings } = await fuzz({ count: Number(values.count), seed: Number(values.seed), readers: values.reader, say: (line) => process.stderr.write(`${line}\n`) });
  for (const { reader, index, kind, message } of findings) console.log(`${reader} ${index}: ${kind}: ${message}`);
  console.log(`${done} inputs, ${findings.length} findings${findings.length > 0 ? ' (out/fuzz/findings.jsonl and the inputs beside it)' : ''}`);
  process.exitCode = findings.length > 0 ? 1 : 0;
}

if (existsSync(process.argv[1]) && process.argv[1] === fileURLToPath(import.meta.url)) {
  await main();
  process.exit(); // backends keep threads
}
