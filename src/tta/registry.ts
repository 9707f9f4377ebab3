import { registry } from '../registry.js';
import type { TtaMethod } from './method.js';

const METHODS = registry<TtaMethod<any>>('method', { // eslint-disable-line @typescript-eslint/no-explicit-any
  source: () => import('./source.js'),
  'bn-adapt': () => import('./bn-adapt.js'),
  tent: () => import('./tent.js'),
  ostta: () => import('./ostta.js'),
  rmt: () => import('./rmt.js'),
  adanpc: () => import('./adanpc.js'),
  petal: () => import('./petal.js'),
  'alpha-bn': () => import('./alpha-bn.js'),
  core: () => import('./core.js'),
  eata: () => import('./eata.js'),
  sar: () => import('./sar.js'),
  memo: () => import('./memo.js'),
  lame: () => import('./lame.js'),
  shot: () => import('./shot.js'),
  t3a: () => import('./t3a.js'),
  rotta: () => import('./rotta.js'),
  note: () => import('./note.js'),
  cotta: () => import('./cotta.js'),
  cafa: () => import('./cafa.js'),
  vdp: () => import('./vdp.js'),
  'meta-dmoe': () => import('./meta-dmoe.js'),
  itta: () => import('./itta.js'),
  vida: () => import('./vida.js'),
  sda: () => import('./sda.js'),
});

export const ttaNames = (): string[] => METHODS.names();
export const loadTta = (name: string): Promise<TtaMethod> => METHODS.load(name);

/** The methods that adapt segmentation. */
export async function denseNames(): Promise<string[]> {
  const methods = await Promise.all(ttaNames().map(loadTta));
  return methods.flatMap((m) => (m.dense ? [m.name] : []));
}
