import type { Command } from './command.js';
import { common } from './common.js';
import { usageError } from '../errors.js';

const command: Command = {
  name: 'init-model',
  summary: 'make a checkpoint with random weights from a config.json',
  description: [
    'Writes a checkpoint directory in the Hugging Face layout whose weights are drawn as the architecture starts, to be pretrained with graft train --method full. Files named as operands (a tokenizer.json) are copied into it.',
  ],
  operands: { usage: '[FILE...]', describe: 'files that belong to the model' },
  options: {
    ...common('output', 'deps', 'seed'),
    config: { type: 'string', alias: 'c', metavar: 'FILE', describe: 'config.json', required: true },
  },
  examples: [
    { does: 'a small encoder', command: 'graft init-model -c config.json -o tiny/ tokenizer.json' },
  ],
  async run(args) {
    if (!args.output || args.output === '-') throw usageError('--output is missing: the directory to make');
    const [{ join }, { readJson }, { copyInto, writeDirectory, writeOutput }, { writeSafetensors }, { blankModel }] = await Promise.all([
      import('node:path'), import('../formats/checkpoint.js'), import('../formats/output.js'), import('../formats/safetensors.js'), import('../models/blank.js')]);
    const config = readJson(args.config) as { model_type: string };
    const tensors = await blankModel(config, args.seed);
    await writeDirectory(args.output, async (directory) => {
      await writeOutput(join(directory, 'config.json'), (out) => out.write(`${JSON.stringify(config, null, 2)}\n`), { text: true });
      for (const file of args._) copyInto(directory, file);
      await writeOutput(join(directory, 'model.safetensors'), (out) => writeSafetensors(out,
        tensors.map((t) => ({ name: t.name, dtype: 'F32' as const, shape: t.shape, data: () => new Uint8Array(t.values.buffer) })), { format: 'pt' }));
    });
  },
};

export default command;
