import { writeOutput } from '../formats/output.js';
import { usageError } from '../errors.js';
import type { Command } from './command.js';
import { common } from './common.js';

const command: Command = {
  name: 'inspect',
  summary: 'show what is in a file',
  description: [
    'Prints what a graft, a checkpoint, a safetensors file, a directory in the PEFT layout, or a table (Arrow, Parquet, JSON lines) holds. The kind is told by content. Standard input (-) is read as a graft.',
  ],
  operands: { usage: 'FILE...', describe: 'what to look at' },
  options: common('json'),
  examples: [
    { does: 'method, ranks and size of a graft', command: 'graft inspect topic.safetensors' },
    { does: 'the same for a script', command: 'graft inspect --json topic.safetensors > topic.json' },
  ],
  async run(args) {
    if (args._.length === 0) throw usageError('no file given: graft inspect FILE');
    const { inspect, asText } = await import('../inspection.js');
    await writeOutput(undefined, async (out) => {
      for (const [i, path] of args._.entries()) {
        const found = await inspect(path);
        await out.write(args.json ? `${JSON.stringify(found)}\n` : `${i > 0 ? '\n' : ''}${asText(found)}`);
      }
    }, { text: true });
  },
};

export default command;
