import { usageError } from '../errors.js';
import type { Command } from './command.js';
import { common } from './common.js';

const command: Command = {
  name: 'plot',
  summary: 'draw logs, metrics and grafts',
  description: ['Draws a picture as SVG, or as PNG where the output\'s name ends in .png.'],
  operands: { usage: 'PICTURE [NAME=]FILE...', describe: 'PICTURE is one of those below. A name before = labels the file in the picture.' },
  options: {
    ...common('output', 'deps'),
    title: { type: 'string', metavar: 'TEXT', describe: 'written above the picture' },
  },
  choices: [{
    option: 'picture', operand: true,
    names: async () => (await import('../plot/registry.js')).pictureNames(),
    load: async (name) => (await import('../plot/registry.js')).loadPicture(name),
  }],
  examples: [
    { does: 'two training runs', command: 'graft plot curves random=random.jsonl eva=eva.jsonl -o loss.svg' },
    { does: 'error by corruption', command: 'graft plot bars source=source.jsonl tent=tent.jsonl --metric error -o error.png' },
    { does: 'two methods over a stream', command: 'graft plot tta source=source.arrow tent=tent.arrow -o stream.svg' },
    { does: 'where EVA put the ranks', command: 'graft plot ranks eva.safetensors -o ranks.svg' },
  ],
  async run(args) {
    const [ending] = /\.(jpe?g|gif|webp|pdf|eps|ps|tiff?|bmp)$/i.exec(args.output ?? '') ?? [];
    if (ending) throw usageError(`--output ${args.output}: pictures are SVG or PNG, not ${ending}`);
    const [{ loadPicture }, { toSvg, toPng }, { readInput, nameOf }, { writeOutput }] = await Promise.all([
      import('../plot/registry.js'), import('../plot/chart.js'), import('../formats/input.js'), import('../formats/output.js')]);
    const picture = await loadPicture(args._[0]);
    const named = args._.length > 1 ? args._.slice(1) : ['-'];
    const inputs = await Promise.all(named.map(async (operand) => {
      const [, label, path] = /^([^=/]+)=(.+)$/.exec(operand) ?? [null, nameOf(operand), operand];
      const bytes = await readInput(path!);
      return { name: label!, bytes, text: picture.binary ? '' : Buffer.from(bytes).toString('utf8') };
    }));
    const spec = await picture.draw(inputs, args);
    const svg = await toSvg(args.title ? { ...spec, title: args.title } : spec);
    const png = args.output?.endsWith('.png');
    await writeOutput(args.output, async (out) => out.write(png ? await toPng(svg) : svg), { text: !png });
  },
};

export default command;
