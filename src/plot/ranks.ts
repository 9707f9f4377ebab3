import type { TopLevelSpec } from 'vega-lite';
import { dataError } from '../errors.js';
import type { Picture } from './picture.js';

const READING = /^(.*)\.(?:lora|tri)_A(?:\.weight)?$/;

/** How ranks are spread: a row a kind of module, a column a layer, from the shapes of the factor that reads, lora_A (tri_A in TriAdaptLoRA). */
const ranks: Picture = {
  name: 'ranks',
  summary: 'the rank of every site of a low-rank graft, by layer and module',
  options: {},
  binary: true,
  async draw([input]) {
    const { readSafetensors } = await import('../formats/safetensors.js');
    const { tensors } = readSafetensors(input.bytes, input.name);
    const values = [...tensors].flatMap(([name, { shape }]) => {
      const site = READING.exec(name)?.[1];
      return site === undefined ? [] : [{ layer: Number(/\.(\d+)\./.exec(site)?.[1] ?? -1), module: site.replace(/^.*\.\d+\./, ''), rank: shape[0] }];
    });
    if (values.length === 0) throw dataError(`${input.name}: has no low-rank sites (tensors named …lora_A)`);
    return {
      width: { step: 34 }, height: { step: 26 }, data: { values },
      encoding: { x: { field: 'layer', type: 'ordinal', title: 'layer', axis: { labelAngle: 0 } }, y: { field: 'module', type: 'nominal', title: null, sort: null } },
      layer: [
        { mark: 'rect', encoding: { color: { field: 'rank', type: 'quantitative', scale: { scheme: 'blues', domainMin: 0 } } } },
        { mark: { type: 'text', fontSize: 10 }, encoding: { text: { field: 'rank' } } },
      ],
    } as TopLevelSpec;
  },
};

export default ranks;
