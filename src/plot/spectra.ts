import type { TopLevelSpec } from 'vega-lite';
import { dataError } from '../errors.js';
import { LARGEST, selectMatrices } from './matrices.js';
import type { Picture } from './picture.js';

/** Singular values of weight matrices, one line a matrix. */
const spectra: Picture = {
  name: 'spectra',
  summary: 'singular values of the matrices in a graft or checkpoint file',
  options: { tensor: { type: 'string', metavar: 'REGEX', describe: 'which tensors', default: '.' } },
  binary: true,
  async draw([input], { tensor }) {
    const { svd } = await import('@graft/kernels');
    const matrices = await selectMatrices(input, new RegExp(tensor as string));
    if (matrices.length === 0) throw dataError(`${input.name}: no matrix matches --tensor ${String(tensor)}`);
    if (matrices.length > LARGEST) throw dataError(`${input.name}: ${matrices.length} matrices match; narrow --tensor to ${LARGEST} or fewer`);
    const values = matrices.flatMap(({ name, values: a, rows, columns }) => Array.from(svd(a, rows, columns).S, (s, i) => ({ name, index: i + 1, s })));
    return {
      width: 480, height: 280, data: { values }, mark: { type: 'line', strokeWidth: 1.4 },
      encoding: {
        x: { field: 'index', type: 'quantitative', title: 'index' }, y: { field: 's', type: 'quantitative', title: 'singular value' },
        color: { field: 'name', type: 'nominal', title: null, sort: null },
      },
    } as TopLevelSpec;
  },
};

export default spectra;
