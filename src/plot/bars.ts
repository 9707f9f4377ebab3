import type { TopLevelSpec } from 'vega-lite';
import { dataError } from '../errors.js';
import { jsonLines } from './curves.js';
import type { Picture } from './picture.js';

/** Values of one metric from `graft eval`, a bar an input, or a group of bars a domain. */
const bars: Picture = {
  name: 'bars',
  summary: 'metrics of graft eval, one bar a file, by group where there are groups',
  options: { metric: { type: 'string', metavar: 'NAME', describe: 'which metric; default: the first in the file' } },
  async draw(inputs, options) {
    let metric = options.metric as string | undefined;
    const values = inputs.flatMap(({ name, text }) => {
      const rows = jsonLines(name, text).filter((r) => typeof r.metric === 'string' && typeof r.value === 'number');
      metric ??= rows[0]?.metric as string | undefined;
      const wanted = rows.filter((r) => r.metric === metric);
      if (wanted.length === 0) throw dataError(`${name}: has no metric '${metric ?? ''}'; it has ${[...new Set(rows.map((r) => r.metric))].join(', ') || 'none'}`);
      const grouped = wanted.filter((r) => r.group !== undefined);
      return (grouped.length > 0 ? grouped : wanted).map((r) => ({ run: name, group: r.group ?? name, value: r.value, low: r.low, high: r.high }));
    });
    const groups = new Set(values.map((v) => v.group)).size;
    const grouped = inputs.length > 1 && values.some((v) => v.group !== v.run);
    const x = { field: 'group', type: 'nominal', title: null, sort: null, axis: { labelAngle: groups > 6 ? -45 : 0 } };
    const color = { field: 'run', type: 'nominal', title: null, sort: null };
    const y = (field: string): object => ({ field, type: 'quantitative', title: metric });
    return {
      width: { step: grouped ? 12 : 36 }, height: 260, data: { values },
      layer: [
        { mark: 'bar', encoding: { x, y: y('value'), ...(grouped ? { xOffset: { field: 'run', sort: null }, color } : {}) } },
        { transform: [{ filter: 'isValid(datum.low)' }], mark: { type: 'rule', color: '#333' }, encoding: { x, y: y('low'), y2: { field: 'high' }, ...(grouped ? { xOffset: { field: 'run', sort: null } } : {}) } },
      ],
    } as unknown as TopLevelSpec;
  },
};

export default bars;
