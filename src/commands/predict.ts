import { usageError } from '../errors.js';
import type { Command } from './command.js';
import { common, computing } from './common.js';

const command: Command = {
  name: 'predict',
  summary: 'predict data, labelled or not',
  description: [
    'Reads texts, tagged words or images and writes what the head of the last graft, or of the checkpoint, says of each row: logits and pred (the class), pred_tags, or pred_mask (a class a pixel). A batch is written before the next is read.',
    'No labels are needed. Where the data have them (label, tags, mask) they go along, as id, domain, task, severity, round and is_ood do, and graft eval measures what comes out; a label that is none of the head\'s classes becomes null.',
  ],
  options: {
    ...common('model', 'graft', 'data', 'columns', 'output', 'deps', 'batchSize'),
    keep: { type: 'string', metavar: 'COLUMN,...', describe: 'more columns of the data that go along, as text' },
    maxLength: { type: 'number', metavar: 'N', describe: 'longest text in tokens; default: what the tokeniser says', min: 1 },
    ...computing(),
  },
  examples: [
    { does: 'the class of each text, to be read', command: 'graft predict -m minilm/ -g topic.safetensors -d test.arrow --keep text | graft convert --to jsonl --names' },
  ],
  binary: () => true,
  async run(args) {
    if (!args.model) throw usageError('--model is missing: the checkpoint to predict with');
    const [{ openTable }, { writePredictions }] = await Promise.all([import('../formats/table.js'), import('../predict.js')]);
    await writePredictions(args, await openTable(args.data ?? '-', { columns: args.columns }));
  },
};

export default command;
