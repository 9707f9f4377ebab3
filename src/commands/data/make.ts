import { GENERATORS } from '../../data/make/registry.js';
import { writeTable } from '../../data/write.js';
import { usageError } from '../../errors.js';
import { kebab, type OptionSpecs } from '../../options.js';
import type { Operation } from './operation.js';

const ownersOf = (option: string): string => GENERATORS.filter((g) => option in g.options).map((g) => g.name).join(', ');

/** The options of all generators, without defaults: those of the one that is asked for are filled in when it is known. */
const generatorOptions: OptionSpecs = Object.fromEntries(
  GENERATORS.flatMap((g) => Object.entries(g.options).map(([name, spec]) => [name, { ...spec, default: undefined, describe: `${ownersOf(name)}: ${spec.describe}` }])));

const operation: Operation = {
  name: 'make',
  summary: `data from a seed: ${GENERATORS.map((g) => g.name).join(', ')}`,
  operands: 'NAME',
  options: {
    n: { type: 'number', alias: 'n', metavar: 'N', describe: 'how many rows', default: 1000, min: 0 },
    ...generatorOptions,
  },
  async run(args) {
    const generator = GENERATORS.find((g) => g.name === args._[0]);
    if (!generator || args._.length > 1) throw usageError(`name what to make: one of ${GENERATORS.map((g) => g.name).join(', ')}`);
    for (const name of Object.keys(generatorOptions)) {
      if (args[name] !== undefined && !(name in generator.options)) throw usageError(`--${kebab(name)} is no option of ${generator.name} but of ${ownersOf(name)}`);
    }
    const options = Object.fromEntries(Object.entries(generator.options).map(([name, spec]) => [name, args[name] ?? spec.default]));
    const { schema, batches } = generator.make(args.n, args.seed, options);
    await writeTable(args.output, schema, batches);
  },
};

export default operation;
