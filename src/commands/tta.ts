import type { Arguments, Command } from './command.js';
import { describeEvents, TTA_EVENTS } from '../training/log.js';
import { common, computing } from './common.js';

const command: Command = {
  name: 'tta',
  summary: 'predict a stream while adapting to it',
  description: [
    'Reads images batch by batch, predicts each and adapts the model to it, and writes the predictions of a batch before it reads the next. Labels and domains in the data are passed on to the predictions and never shown to the method.',
    'With --state a run goes on where the last one stopped: the file is read if it exists and replaced at the end of the stream. A second run on it fails, or waits with --wait.',
  ],
  options: {
    ...common('model', 'graft', 'data', 'columns', 'output', 'deps'),
    method: { type: 'string', metavar: 'NAME', describe: 'how to adapt', default: 'tent' },
    around: { type: 'string', metavar: 'NAME', describe: 'what goes around the method, whichever it is' },
    batchSize: { type: 'number', metavar: 'N', describe: 'images adapted to at once', default: 200, min: 1 },
    state: { type: 'string', writes: true, metavar: 'FILE', describe: 'what the method remembers between runs' },
    prepared: { type: 'string', writes: true, metavar: 'FILE', describe: 'what the method learnt from --source-data: read if the file is there, else written' },
    resetOn: { type: 'string', metavar: 'COLUMN', describe: 'start again from the source model where this column changes' },
    ...common('wait'),
    resetEvery: { type: 'number', metavar: 'N', describe: 'start again from the source model every N batches; 1: every batch by itself', min: 1 },
    saveGraft: { type: 'string', incidental: true, writes: true, metavar: 'FILE', describe: 'write what was learnt as a graft' },
    ...common('log'),
    ...computing(),
  },
  choices: [{
    option: 'method',
    names: async () => (await import('../tta/registry.js')).ttaNames(),
    load: async (name) => (await import('../tta/registry.js')).loadTta(name),
  }, {
    option: 'around',
    names: async () => (await import('../tta/wrappers.js')).wrapperNames(),
    load: async (name) => (await import('../tta/wrappers.js')).loadWrapper(name),
  }],
  notes: [describeEvents(TTA_EVENTS)],
  examples: [
    { does: 'error of Tent on fog', command: 'graft data corrupt --kind fog --severity 5 < images.arrow | graft tta -m resnet/ --method tent | graft eval --metrics error' },
    { does: 'a nightly job, which goes on where the last one stopped and waits for one that still runs', command: 'graft tta -m resnet/ --method bn-adapt --state night.safetensors --wait 3600 -d images.arrow -o predictions.arrow' },
  ],
  binary: () => true,
  run: async (args: Arguments) => (await import('../tta/run.js')).runTta(args),
};

export default command;
