import { usageError } from '../errors.js';
import type { Command } from './command.js';
import { common } from './common.js';
import type { Operation } from './data/operation.js';

/** One line an operation: its module is loaded when it is asked for. */
const OPERATIONS: Record<string, () => Promise<{ default: Operation }>> = {
  import: () => import('./data/import.js'),
  head: async () => ({ default: (await import('./data/rows.js')).head }),
  tail: async () => ({ default: (await import('./data/rows.js')).tail }),
  sample: async () => ({ default: (await import('./data/rows.js')).sample }),
  shuffle: async () => ({ default: (await import('./data/rows.js')).shuffle }),
  select: async () => ({ default: (await import('./data/rows.js')).select }),
  split: () => import('./data/split.js'),
  concat: () => import('./data/concat.js'),
  stream: () => import('./data/stream.js'),
  corrupt: () => import('./data/corrupt.js'),
  diffuse: () => import('./data/diffuse.js'),
  wrap: () => import('./data/wrap.js'),
  make: () => import('./data/make.js'),
};

const command: Command = {
  name: 'data',
  summary: 'import, transform and corrupt data',
  description: [
    'Reads data, changes it and writes an Arrow stream. OPERATION says how; graft data OPERATION --help lists its options.',
    'import reads other formats; head, tail, sample, shuffle, select, split and concat choose and order rows; wrap puts a template around texts; corrupt shifts pictures, stream orders them and diffuse projects them for test-time adaptation; make invents data from a seed.',
    'FILE is standard input where it is missing or -.',
  ],
  operands: { usage: 'OPERATION [FILE...]', describe: 'OPERATION is one of those below.' },
  options: common('output', 'deps', 'columns', 'seed', 'progress', 'quiet'),
  choices: [{ option: 'operation', operand: true, names: () => Object.keys(OPERATIONS), load: async (name) => (await OPERATIONS[name]()).default }],
  examples: [
    { does: 'a table whose file has no header', command: 'graft data import --header none --names text,label reviews.tsv -o reviews.arrow' },
    { does: 'TREC: the class before the colon', command: `graft data import --pattern '^(?<label>\\w+):(?<fine>\\w+) (?<text>.*)$' --encoding latin1 --format text TREC.train > trec.arrow` },
    { does: 'a tar of pictures, a class a folder', command: 'graft data import --raw pictures.tar > pictures.arrow' },
    { does: 'texts about six topics, to try things with', command: 'graft data make topics -n 60 --seed 1 -o all.arrow' },
    { does: 'sequences of DNA as a language model reads them', command: `printf '>a\\nGATTACA\\n' | graft data import --format fasta | graft data wrap --template 'Domain: DNA\\nSequence: {}\\nAnnotation:' --kmer 1 -o dna.arrow` },
    { does: 'train and test', command: 'graft data split --fraction 0.8 --stratify label all.arrow train.arrow test.arrow' },
    { does: 'pictures of ten shapes under two corruptions', command: 'graft data make shapes10 -n 40 -o images.arrow && graft data corrupt --kind fog,snow --severity 5 images.arrow -o shifted.arrow' },
    { does: 'pictures, and beside them what a diffusion model makes of them', command: 'graft data diffuse -m unet/ --steps 10 --from 3 --down 2 --into projected images.arrow -o projected.arrow' },
  ],
  binary: ({ _: [operation] }) => operation !== undefined && operation !== 'split', // whose outputs are operands
  async run(args) {
    const [name, ...operands] = args._;
    const load = name !== undefined && Object.hasOwn(OPERATIONS, name) ? OPERATIONS[name] : null;
    if (!load) throw usageError(`${name === undefined ? 'no operation given' : `unknown operation '${name}'`}: one of ${Object.keys(OPERATIONS).join(', ')}`);
    await (await load()).default.run({ ...args, _: operands });
  },
};

export default command;
