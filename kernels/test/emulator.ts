import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { native } from '../src/native.js';

const kernels = fileURLToPath(new URL('../../', import.meta.url));

/** Builds the stand-in for NVIDIA's libraries (kernels/cuda/emulator). @returns its folder, for GRAFT_CUDA; or why it is not there */
export function emulator(): { folder: string } | { missing: string } {
  if (!native()) return { missing: 'the native backend was not built' };
  if (process.env.GRAFT_ADDON) return { missing: 'another build of the addon is under test' };
  const made = spawnSync('make', ['-s', '-j2', '-C', kernels, 'emulator'], { encoding: 'utf8' });
  const folder = join(kernels, 'build/emulator');
  if (made.status !== 0) throw new Error(`make emulator: ${made.stderr}`);
  return existsSync(join(folder, 'libcuda.so.1')) ? { folder } : { missing: 'no C++ compiler' };
}

const caches: string[] = [];
process.on('exit', () => caches.forEach((cache) => rmSync(cache, { recursive: true, force: true })));

/** An environment in which graft-cuda finds the emulator and keeps compiled kernels to itself, while this process lives. */
export function emulated(folder: string, more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const cache = mkdtempSync(join(tmpdir(), 'graft-cuda-'));
  caches.push(cache);
  return { ...process.env, GRAFT_CUDA: folder, XDG_CACHE_HOME: cache, ...more };
}

/** Runs TypeScript's output of a module's text in node with the kernels' `src` folder at hand as `SRC`. */
export function script(text: string, env: NodeJS.ProcessEnv): { status: number | null; stdout: string; stderr: string } {
  const source = `const SRC = ${JSON.stringify(join(kernels, 'dist/src/'))};\n${text}`;
  return spawnSync(process.execPath, ['--input-type=module', '-e', source], { encoding: 'utf8', env });
}
