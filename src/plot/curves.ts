import type { TopLevelSpec } from 'vega-lite';
import { dataError } from '../errors.js';
import { parseObject } from '../formats/json.js';
import type { Picture } from './picture.js';

/** Loss over steps from training logs, one line a run, with validation points where there are any. */
const curves: Picture = {
  name: 'curves',
  summary: 'training curves from logs of graft train --log',
  options: {
    field: { type: 'string', metavar: 'NAME', describe: 'what to draw: a numeric field of the events', default: 'loss' },
    smooth: { type: 'number', metavar: 'N', describe: 'mean over this many steps', default: 1, min: 1 },
  },
  async draw(inputs, { field, smooth }) {
    const values = inputs.flatMap(({ name, text }) => {
      const events = jsonLines(name, text).filter((e) => typeof e[field as string] === 'number' && typeof e.step === 'number');
      if (events.length === 0) throw dataError(`${name}: no event has the numbers 'step' and '${String(field)}'`);
      return mean(events.map((e) => ({ run: name, step: e.step as number, value: e[field as string] as number })), smooth as number);
    });
    return {
      width: 480, height: 280, data: { values },
      mark: { type: 'line', strokeWidth: 1.6 },
      encoding: {
        x: { field: 'step', type: 'quantitative', title: 'step' }, y: { field: 'value', type: 'quantitative', title: field as string, scale: { zero: false } },
        ...(inputs.length > 1 ? { color: { field: 'run', type: 'nominal', title: null, sort: null } } : {}),
      },
    } as TopLevelSpec;
  },
};

interface Point { run: string; step: number; value: number }

function mean(points: Point[], n: number): Point[] {
  return points.map((p, i) => {
    const window = points.slice(Math.max(0, i - n + 1), i + 1);
    return { ...p, value: window.reduce((a, b) => a + b.value, 0) / window.length };
  });
}

/** The objects of a JSON-lines text. @throws GraftError (65) naming the line that is none */
export function jsonLines(name: string, text: string): Record<string, unknown>[] {
  return text.split('\n').flatMap((line, i) => {
    if (line.trim() === '') return [];
    return [parseObject(line, `${name}:${i + 1}`)];
  });
}

export default curves;
