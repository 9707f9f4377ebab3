import { raster, type Raster } from '../raster.js';
import type { Corruption } from './corruption.js';

export const brightness: Corruption<number> = {
  name: 'brightness', abbreviation: 'br', summary: 'the value of HSV raised',
  constants: { cifar: [0.05, 0.1, 0.15, 0.2, 0.3], imagenet: [0.1, 0.2, 0.3, 0.4, 0.5] },
  apply: (x, c) => pixels(x, (r, g, b, write) => {
    const value = Math.max(r, g, b);
    const raised = Math.min(value + c, 1);
    if (value === 0) return write(raised, raised, raised);
    write((r / value) * raised, (g / value) * raised, (b / value) * raised);
  }),
};

export const saturate: Corruption<[factor: number, offset: number]> = {
  name: 'saturate', abbreviation: 'st', summary: 'the saturation of HSV scaled (hold-out)',
  constants: {
    cifar: [[0.3, 0], [0.1, 0], [1.5, 0], [2, 0.1], [2.5, 0.2]],
    imagenet: [[0.3, 0], [0.1, 0], [2, 0], [5, 0.1], [20, 0.2]],
  },
  apply: (x, [factor, offset]) => pixels(x, (r, g, b, write) => {
    const value = Math.max(r, g, b), range = value - Math.min(r, g, b);
    const saturation = value === 0 ? 0 : range / value;
    const wanted = Math.min(1, Math.max(0, factor * saturation + offset));
    // The distance below the value, in units of the range, is what the hue fixes; a grey pixel has hue 0 (red).
    const below = (v: number, grey: number): number => (range === 0 ? grey : (value - v) / range);
    const scale = value * wanted;
    write(value - scale * below(r, 0), value - scale * below(g, 1), value - scale * below(b, 1));
  }),
};

export const contrast: Corruption<number> = {
  name: 'contrast', abbreviation: 'ct', summary: 'drawn towards the mean of each channel',
  constants: { cifar: [0.75, 0.5, 0.4, 0.3, 0.15], imagenet: [0.4, 0.3, 0.2, 0.1, 0.05] },
  apply(x, c) {
    const mean = [0, 0, 0];
    for (let i = 0; i < x.data.length; i++) mean[i % 3] += x.data[i];
    const count = x.height * x.width;
    return { ...x, data: x.data.map((v, i) => (v - mean[i % 3] / count) * c + mean[i % 3] / count) };
  },
};

type Write = (r: number, g: number, b: number) => void;

function pixels(x: Raster, f: (r: number, g: number, b: number, write: Write) => void): Raster {
  const out = raster(x.height, x.width, 3);
  let at = 0;
  const write: Write = (r, g, b) => {
    out.data[at++] = r;
    out.data[at++] = g;
    out.data[at++] = b;
  };
  for (let i = 0; i < x.data.length; i += 3) f(x.data[i], x.data[i + 1], x.data[i + 2], write);
  return out;
}
