import { usageError } from '../errors.js';
import { registry } from '../registry.js';
import type { Picture } from './picture.js';

const PICTURES = registry<Picture>('picture', {
  curves: () => import('./curves.js'),
  bars: () => import('./bars.js'),
  ranks: () => import('./ranks.js'),
  spectra: () => import('./spectra.js'),
  tta: () => import('./tta.js'),
});

export const pictureNames = (): string[] => PICTURES.names();

/** @throws GraftError (usage) for none or an unknown one. */
export async function loadPicture(name: string | undefined): Promise<Picture> {
  if (name === undefined) throw usageError(`the first operand is the picture: one of ${pictureNames().join(', ')}`);
  return PICTURES.load(name);
}
