import { usageError } from '../errors.js';
import type { Picture } from './picture.js';

const PICTURES: Record<string, () => Promise<{ default: Picture }>> = {
  curves: () => import('./curves.js'),
  bars: () => import('./bars.js'),
  ranks: () => import('./ranks.js'),
  spectra: () => import('./spectra.js'),
  tta: () => import('./tta.js'),
};

export const pictureNames = (): string[] => Object.keys(PICTURES);

/** @throws GraftError (usage) for an unknown name. */
export async function loadPicture(name: string | undefined): Promise<Picture> {
  const load = name === undefined ? undefined : PICTURES[name];
  if (!load) throw usageError(`the first operand is the picture: one of ${pictureNames().join(', ')}`);
  return (await load()).default;
}
