import type { Arguments, Command } from './command.js';
import { common, computing } from './common.js';

const command: Command = {
  name: 'tta',
  summary: 'predict a stream while adapting to it',
  description: [
    'Reads images batch by batch, predicts each and adapts the model to it, and writes the predictions of a batch before it reads the next. Labels and domains in the data are passed on to the predictions and never shown to the method.',
    'With --state a run goes on where the last one stopped: the file is read if it exists and replaced at the end of the stream.',
  ],
  options: {
    ...common('model', 'graft', 'data', 'columns', 'output'),
    method: { type: 'string', metavar: 'NAME', describe: 'how to adapt', default: 'tent' },
    batchSize: { type: 'number', metavar: 'N', describe: 'images adapted to at once', default: 200, min: 1 },
    state: { type: 'string', metavar: 'FILE', describe: 'what the method remembers between runs' },
    resetOn: { type: 'string', metavar: 'COLUMN', describe: 'start again from the source model where this column changes' },
    saveGraft: { type: 'string', metavar: 'FILE', describe: 'write what was learnt as a graft' },
    ...common('log', 'progress'),
    ...computing(),
  },
  choices: [{
    option: 'method',
    entries: async () => {
      const { loadTta, ttaNames } = await import('../tta/registry.js');
      return Promise.all(ttaNames().map(loadTta));
    },
  }],
  examples: [
    { does: 'error of Tent on fog', command: 'graft data corrupt --kind fog --severity 5 < images.arrow | graft tta -m resnet/ --method tent | graft eval --metrics error' },
    { does: 'a nightly job', command: 'graft tta -m resnet/ --method cotta --state cotta.safetensors -d today.arrow -o today.predictions.arrow' },
  ],
  run: async (args: Arguments) => (await import('../tta/run.js')).runTta(args),
};

export default command;
