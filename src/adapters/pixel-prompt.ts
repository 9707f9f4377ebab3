import { tf, type Tensor } from '@graft/kernels';
import { usageError } from '../errors.js';
import type { Model } from '../models/model.js';
import type { OptionValues } from '../options.js';
import type { Method } from './method.js';

const LOCATIONS = ['center', 'top-left', 'top-right', 'bottom-left', 'bottom-right'] as const;
type Location = (typeof LOCATIONS)[number];

export interface PatchConfig extends OptionValues { size: number; location: Location }

/** Where a patch of pixels lies. */
export const patchOptions = (size: number) => ({
  size: { type: 'number', metavar: 'SHARE', describe: "side of the patch, as a share of the image's", default: size, min: 0, max: 1 },
  location: { type: 'string', describe: 'where it lies', default: 'center', choices: LOCATIONS },
} as const);

/**
 * A trained patch of pixels P [h, w, 3] added to every image, 0 elsewhere (visual prompting: Bahng et al., 2022; their frame around the
 * image is not built). The network normalises what comes out; it starts as nothing.
 */
const pixelPrompt: Method<PatchConfig> = {
  name: 'pixel-prompt',
  summary: 'a trained patch of pixels added to every image (visual prompting)',
  paper: { title: 'Exploring Visual Prompts for Adapting Large-Scale Models', authors: 'Bahng, Jahanian, Sankaranarayanan, Isola', year: 2022, url: 'https://arxiv.org/abs/2203.17274' },
  options: patchOptions(1),
  sites: pixelSites,
  params: (_site, { size }, model) => [{ name: 'prompt', shape: patchShape(model, size), init: { kind: 'zeros' } }],
  change: ({ x, base }, { prompt }, { location }) => base(tf.add(x, placed(prompt, x.shape.slice(1, 3), location))),
  unmergeable: 'it changes the image, not a weight',
};

/** Where a model takes its images in. @throws GraftError (usage) for one that reads none, or of any size */
export function pixelSites(model: Model): Model['sites'][number][] {
  const found = model.sites.filter((s) => s.kind === 'pixels');
  if (found.length === 0 || !model.imageSize) throw usageError(`pixel-prompt: this ${model.type} reads no images of one size`);
  return found;
}

/** [h, w, 3], at least one pixel. */
export const patchShape = ({ imageSize }: Model, share: number): number[] => [...imageSize!.map((n) => Math.max(1, Math.round(share * n))), 3];

/** A patch [h, w, 3] in an image of zeros of this height and width. */
export function placed(patch: Tensor, [H, W]: readonly number[], location: Location): Tensor {
  const [h, w] = patch.shape, across = (free: number, first: string): number => (location === 'center' ? Math.floor(free / 2) : location.includes(first) ? 0 : free);
  const top = across(H - h, 'top'), left = across(W - w, 'left');
  return h === H && w === W ? patch : tf.pad(patch, [[top, H - h - top], [left, W - w - left], [0, 0]]);
}

export default pixelPrompt;
