import { gatherShifts, nearest, type Raster } from '../raster.js';

/**
 * One-sided motion blur (ImageMagick's): weights ∝ exp(−i²/2σ²) for i = 0 … 2·radius, laid along the direction `angle`.
 * @param angle in degrees
 */
export function motionBlur(x: Raster, radius: number, sigma: number, angle: number): Raster {
  const width = 2 * radius + 1;
  const weights = Array.from({ length: width }, (_, i) => Math.exp(-(i * i) / (2 * sigma * sigma)));
  const sum = weights.reduce((a, b) => a + b, 0);
  const cos = Math.cos((angle * Math.PI) / 180), sin = Math.sin((angle * Math.PI) / 180);
  const shifts = weights.map((k, i) => ({ dy: Math.ceil(i * sin - 0.5), dx: Math.ceil(i * cos - 0.5), weight: k / sum }));
  return gatherShifts(x, shifts, nearest);
}
