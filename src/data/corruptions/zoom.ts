import { raster, type Raster } from '../raster.js';

interface Axis { low: Int32Array; high: Int32Array; fraction: Float64Array }

/** Where each of the `n` pixels of a line comes from after enlarging its middle by z ≥ 1 (bilinear, corners aligned). */
function zoomAxis(n: number, z: number): Axis {
  const crop = Math.ceil(n / z);
  const start = Math.floor((n - crop) / 2);
  const zoomed = Math.round(crop * z);
  const trim = Math.floor((zoomed - n) / 2);
  const step = zoomed > 1 ? (crop - 1) / (zoomed - 1) : 0;
  const axis = { low: new Int32Array(n), high: new Int32Array(n), fraction: new Float64Array(n) };
  for (let i = 0; i < n; i++) {
    const at = (i + trim) * step;
    const low = Math.min(Math.floor(at), crop - 1);
    axis.low[i] = start + low;
    axis.high[i] = start + Math.min(low + 1, crop - 1);
    axis.fraction[i] = at - low;
  }
  return axis;
}

/** Adds the central part of `x`, enlarged z times to the size of `x`, to `out`. */
export function addClippedZoom(x: Raster, z: number, out: Float64Array): void {
  const { height, width, channels } = x;
  const rows = zoomAxis(height, z), columns = zoomAxis(width, z);
  let to = 0;
  for (let i = 0; i < height; i++) {
    const top = rows.low[i] * width, bottom = rows.high[i] * width, fy = rows.fraction[i];
    for (let j = 0; j < width; j++) {
      const left = columns.low[j], right = columns.high[j], fx = columns.fraction[j];
      const a = (top + left) * channels, b = (top + right) * channels, d = (bottom + left) * channels, e = (bottom + right) * channels;
      const wa = (1 - fy) * (1 - fx), wb = (1 - fy) * fx, wd = fy * (1 - fx), we = fy * fx;
      for (let c = 0; c < channels; c++) {
        out[to++] += wa * x.data[a + c] + wb * x.data[b + c] + wd * x.data[d + c] + we * x.data[e + c];
      }
    }
  }
}

export function clippedZoom(x: Raster, z: number): Raster {
  const out = raster(x.height, x.width, x.channels);
  addClippedZoom(x, z, out.data);
  return out;
}
