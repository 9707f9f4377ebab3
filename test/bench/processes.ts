/** Whole commands, from the start of a process to its end: graft, its peer, and where reading and writing is all there is to do, cp. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface ProcessWork { name: string; sides: Record<string, string[]>; /** Removed before each run. */ output: string }

/** What the commands below work on. */
export interface Place { root: string; folder: string; python?: string; threads: string; blank(config: string): string }

export function processWorks({ root, folder, python, threads, blank }: Place): (() => ProcessWork)[] {
  const graft = join(root, 'bin/graft.js'), output = join(folder, 'out');
  const run = (...args: string[]): string[] => [process.execPath, graft, ...args, '-q', '-o', output];
  const own = (...args: string[]): string[] => run(...args, '--threads', threads);
  const peer = (what: string, model: string, ...more: string[]): Record<string, string[]> => (python ? { peer: [python, join(root, 'test/bench/peer_processes.py'), threads, what, model, ...more] } : {});
  const once = (name: string, ...args: string[]): string => {
    const path = join(folder, name);
    if (!existsSync(path)) execFileSync(process.execPath, [graft, ...args, '-o', path]);
    return path;
  };
  const rows = (): string => {
    const path = join(folder, 'rows.jsonl');
    writeFileSync(path, Array.from({ length: 32 }, (_, i) => `${JSON.stringify({ text: 'the quick brown fox jumps over the lazy dog '.repeat(3), label: 'abcdef'[i % 6] })}\n`).join(''));
    return path;
  };
  /** Texts that differ, so that components take several batches to settle. */
  const texts = (): string => {
    const path = join(folder, 'texts.jsonl'), words = 'alpha beta gamma delta run walk stop go red green blue small large old new king queen river stone cloud'.split(' ');
    writeFileSync(path, Array.from({ length: 512 }, (_, i) => `${JSON.stringify({ text: Array.from({ length: 8 + (i % 17) }, (_, j) => words[(i * 7 + j * j * 3 + ((i * j) >> 2)) % words.length]).join(' ') })}\n`).join(''));
    return path;
  };
  // As graft does, until the bytes are on the disk.
  const copied = (model: string): string[] => ['sh', '-c', 'cp -r "$0" "$1" && sync "$1"/*', blank(model), output];
  const start = (model: string, ...more: string[]): string => once(`${model}${more.join('')}.graft`, 'init-adapter', '-m', blank(model), '--rank', '16', ...more);
  return [
    () => ({ name: 'start to first step minilm', output, sides: { graft: own('train', '-m', blank('minilm'), '-g', start('minilm', '--task', 'classify', '--labels', 'a,b,c,d,e,f'), '-d', rows(), '--steps', '1'), ...peer('start', blank('minilm')) } }),
    () => ({ name: 'PiSSA start bert-base r=16', output, sides: { graft: own('svd-init', '-m', blank('bert-base'), '-g', start('bert-base'), '--method', 'pissa'), ...peer('pissa', blank('bert-base')) } }),
    () => ({ name: 'PiSSA start, 4 rounds, bert-base r=16', output, sides: { graft: own('svd-init', '-m', blank('bert-base'), '-g', start('bert-base'), '--method', 'pissa', '--niter', '4'), ...peer('pissa_niter_4', blank('bert-base')) } }),
    () => ({ name: 'EVA start bert-base r=16, rho 2', output, sides: { graft: own('svd-init', '-m', blank('bert-base'), '-g', start('bert-base'), '--method', 'eva', '--rho', '2', '-d', texts()), ...peer('eva', blank('bert-base'), texts()) } }),
    () => ({ name: 'merge a LoRA into llama-500m', output, sides: { graft: run('merge', '-m', blank('llama-500m'), '-g', start('llama-500m')), copy: copied('llama-500m') } }),
    () => ({ name: 'mean of three llama-500m', output, sides: { graft: run('merge', '--method', 'linear', blank('llama-500m'), blank('llama-500m'), blank('llama-500m')), copy: copied('llama-500m') } }),
  ];
}

/** Seconds of one run of a command. */
export function secondsOf([program, ...args]: string[], output: string): number {
  rmSync(output, { recursive: true, force: true });
  const began = performance.now();
  const { status, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: status ${status}: ${stderr}`);
  return (performance.now() - began) / 1000;
}
