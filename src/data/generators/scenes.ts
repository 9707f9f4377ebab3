import { Rng } from '@graft/kernels/random';
import { luma, MASKS, SHAPES, SIZE, texture, type Colour } from './shapes10.js';

/** What the classes of a scene's pixels are called. */
export const SCENE_CLASSES = ['background', 'disc', 'square', 'triangle', 'cross'];

/** The masks of the classes but the first. */
const KINDS = SCENE_CLASSES.slice(1).map((name) => MASKS[SHAPES.indexOf(name)]);

/** One to three shapes of four kinds, the later before the earlier, over a texture: 32×32 RGB and the class of every pixel. */
export function* scenes(n: number, seed: number): Generator<{ image: Uint8Array; mask: Uint8Array }> {
  for (let i = 0; i < n; i++) yield scene(new Rng('scenes', seed, i));
}

function scene(rng: Rng): { image: Uint8Array; mask: Uint8Array } {
  const mask = new Uint8Array(SIZE * SIZE), background = colour(rng), paint: Colour[] = Array.from(mask, () => background);
  for (let left = 1 + rng.integer(3); left > 0; left--) {
    const kind = rng.integer(KINDS.length), cx = rng.uniform(6, SIZE - 7), cy = rng.uniform(6, SIZE - 7), r = rng.uniform(5, 9), theta = rng.uniform(-0.25, 0.25);
    const own = unlike(background, rng);
    for (let k = 0; k < mask.length; k++) {
      const x = (k % SIZE) - cx, y = Math.floor(k / SIZE) - cy;
      if (KINDS[kind](Math.cos(theta) * x + Math.sin(theta) * y, -Math.sin(theta) * x + Math.cos(theta) * y, r)) [mask[k], paint[k]] = [kind + 1, own];
    }
  }
  const noise = texture(rng);
  return { image: Uint8Array.from(noise, (v, o) => Math.floor(Math.min(1, Math.max(0, paint[Math.floor(o / 3)][o % 3] + v)) * 255)), mask };
}

const colour = (rng: Rng): Colour => [rng.uniform(), rng.uniform(), rng.uniform()];

/** A colour that stands out. */
function unlike(other: Colour, rng: Rng): Colour {
  for (;;) {
    const found = colour(rng);
    if (Math.abs(luma(found) - luma(other)) >= 0.2) return found;
  }
}
