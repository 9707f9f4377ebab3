import { readFileSync } from 'node:fs';

/** The version in package.json. */
export function version(): string {
  return JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version;
}

/** What `graft --version` prints: the version, then what computes. */
export async function versionText(): Promise<string> {
  const { describeMachine } = await import('@graft/kernels/machine');
  const { backend, because, isa, threads, gpus } = describeMachine();
  return `graft ${version()}\nbackend: ${backend}\nbecause: ${because}\ninstruction set: ${isa}\n${threads === null ? '' : `threads: ${threads}\n`}GPU: ${gpus.join('; ') || 'none found'}\n`;
}
