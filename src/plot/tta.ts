import type { RecordBatch } from 'apache-arrow';
import type { TopLevelSpec } from 'vega-lite';
import { dataError } from '../errors.js';
import { isArrowFile, isArrowStream, readArrow } from '../formats/arrow.js';
import { rowsOf } from '../formats/rows.js';
import { jsonLines } from './curves.js';
import type { Picture, PlotInput } from './picture.js';

/** A batch of a stream: `value` is of the field drawn. */
interface Point { run: string; batch: number; value: number; domain?: string }

/** How a stream went, from predictions (error by batch, domains marked) or logs of graft tta, one line an input. */
const stream: Picture = {
  name: 'tta',
  summary: 'error over a stream, domain by domain, from predictions or logs of graft tta',
  options: {
    field: { type: 'string', describe: 'what to draw; predictions have the error alone', default: 'error', choices: ['error', 'entropy', 'confidence', 'drift'] },
    smooth: { type: 'number', metavar: 'N', describe: 'mean over this many batches, within a domain', default: 1, min: 1 },
  },
  binary: true,
  async draw(inputs, { field, smooth }) {
    const runs = await Promise.all(inputs.map((input) => points(input, field as string)));
    const values = runs.flatMap((run) => smoothed(run, smooth as number));
    // The first input that knows domains says where they begin.
    const known = runs.find((run) => run.some((p) => p.domain !== undefined)) ?? [];
    const starts = known.filter((p, i) => p.domain !== undefined && p.domain !== known[i - 1]?.domain).map(({ batch, domain }) => ({ batch, domain }));
    const x = { field: 'batch', type: 'quantitative', title: 'batch' };
    const rule = { data: { values: starts }, encoding: { x } };
    return {
      width: 640, height: 280,
      layer: [
        { ...rule, mark: { type: 'rule', color: '#bbb', strokeDash: [3, 3] } },
        { ...rule, mark: { type: 'text', angle: 270, align: 'right', dx: -4, dy: 7, fontSize: 9, color: '#777' }, encoding: { x, y: { value: 0 }, text: { field: 'domain' } } },
        {
          data: { values }, mark: { type: 'line', strokeWidth: 1.6 },
          encoding: {
            x, y: { field: 'value', type: 'quantitative', title: field as string }, ...(inputs.length > 1 ? { color: { field: 'run', type: 'nominal', title: null, sort: null } } : {}),
            detail: { field: 'stretch', type: 'nominal' },
          },
        },
      ],
    } as unknown as TopLevelSpec;
  },
};

async function points(input: PlotInput, field: string): Promise<Point[]> {
  const { name, bytes } = input;
  const found = isArrowFile(bytes) || isArrowStream(bytes) ? await fromPredictions(name, bytes, field) : fromLog(name, Buffer.from(bytes).toString('utf8'), field);
  return found.sort((a, b) => a.batch - b.batch);
}

/** A point for each batch and domain: the share of its rows whose prediction is not the label; rows without one do not count. */
async function fromPredictions(name: string, bytes: Uint8Array, field: string): Promise<Point[]> {
  if (field !== 'error') throw dataError(`${name}: predictions have no ${field}; give the log of graft tta --log`);
  const { schema, batches } = await readArrow(name, (async function* () { yield bytes; })());
  const missing = ['pred', 'label', 'batch'].find((column) => !schema.names.includes(column));
  if (missing) throw dataError(`${name}: has no column '${missing}'; it has ${schema.names.join(', ')}`);
  const groups = new Map<string, { batch: number; domain?: string; wrong: number; n: number }>();
  const add = (batch: RecordBatch): void => rowsOf(batch).forEach(({ pred, label, batch: at, domain }) => {
    if (label === null || (label as number) < 0) return;
    const key = `${String(at)} ${String(domain)}`;
    const group = groups.get(key) ?? { batch: Number(at), ...(domain === undefined ? {} : { domain: String(domain) }), wrong: 0, n: 0 };
    groups.set(key, { ...group, wrong: group.wrong + Number(pred !== label), n: group.n + 1 });
  });
  for await (const batch of batches) add(batch);
  if (groups.size === 0) throw dataError(`${name}: has no rows with labels`);
  return [...groups.values()].map(({ batch, domain, wrong, n }) => ({ run: name, batch, domain, value: wrong / n }));
}

function fromLog(name: string, text: string, field: string): Point[] {
  const steps = jsonLines(name, text).filter((e) => e.event === 'step').map((e) => ({ batch: e.step, value: field === 'error' && typeof e.accuracy === 'number' ? 1 - e.accuracy : e[field] }));
  const found = steps.filter((p): p is { batch: number; value: number } => typeof p.batch === 'number' && typeof p.value === 'number');
  if (found.length === 0) throw dataError(`${name}: no event has the number '${field === 'error' ? 'accuracy' : field}'; is it a log of graft tta, with labels in the data?`);
  return found.map((p) => ({ run: name, ...p }));
}

/** Means that never reach back over the beginning of a domain, where a new stretch of the line begins. */
function smoothed(points: readonly Point[], n: number): (Point & { stretch: string })[] {
  let first = 0, stretch = 0;
  return points.map((p, i) => {
    if (i > 0 && p.domain !== points[i - 1].domain) [first, stretch] = [i, stretch + 1];
    const window = points.slice(Math.max(first, i - n + 1), i + 1);
    return { ...p, value: window.reduce((sum, { value }) => sum + value, 0) / window.length, stretch: `${p.run} ${stretch}` };
  });
}

export default stream;
