import type { MergingMethod } from './method.js';

/** Beyond this cosine the arc is taken for a line. */
const COLLINEAR = 0.9995;

/** sin((1−t)θ)/sinθ·v₀ + sin(tθ)/sinθ·v₁ with θ the angle between the two tensors, flat (Shoemake, 1985). */
const slerp: MergingMethod<{ t: number }> = {
  name: 'slerp',
  summary: 'interpolate two models along the arc between them',
  paper: { title: 'Animating rotation with quaternion curves', authors: 'Shoemake', year: 1985 },
  options: { t: { type: 'number', default: 0.5, min: 0, max: 1, describe: 'position: 0 is the first model, 1 the second' } },
  needsBase: false,
  merge({ models: [v0, v1] }, { t }) {
    let dot = 0, n0 = 0, n1 = 0;
    for (let j = 0; j < v0.length; j++) {
      dot += v0[j] * v1[j];
      n0 += v0[j] ** 2;
      n1 += v1[j] ** 2;
    }
    const cosine = n0 > 0 && n1 > 0 ? dot / Math.sqrt(n0 * n1) : 1;
    const theta = Math.acos(Math.max(-1, Math.min(1, cosine)));
    const line = Math.abs(cosine) > COLLINEAR;
    const a = line ? 1 - t : Math.sin((1 - t) * theta) / Math.sin(theta);
    const b = line ? t : Math.sin(t * theta) / Math.sin(theta);
    return v0.map((v, j) => a * v + b * v1[j]);
  },
};

export default slerp;
