import type { Command } from './command.js';
import { describeEvents, TRAIN_EVENTS } from '../training/log.js';
import { common, computing } from './common.js';

const command: Command = {
  name: 'train',
  summary: 'train a graft',
  description: [
    'Reads a graft from --graft or standard input, trains it on the data, and writes it. The model stays as it is. Of several grafts the last one is trained and written; those before it take part as they are.',
    'With a validation set the graft is measured after every epoch and the best values are kept. With --checkpoint a run that was stopped, killed even, goes on under --resume and ends with the same bytes.',
  ],
  options: {
    ...common('model', 'graft', 'data', 'columns', 'output', 'deps'),
    objective: { type: 'string', metavar: 'NAME', describe: 'what is minimised; default: what suits the graft\'s head' },
    epochs: { type: 'number', metavar: 'N', describe: 'passes over the data', default: 3, min: 0 },
    only: { type: 'string', array: true, metavar: 'NAME', describe: 'train only the tensors of the graft that have NAME in their name, as in --only poly_router; repeatable' },
    steps: { type: 'number', metavar: 'N', describe: 'optimiser steps; instead of --epochs', min: 1 },
    ...common('batchSize'),
    maxLength: { type: 'number', metavar: 'N', describe: 'longest text in tokens; default: what the tokeniser says', min: 1 },
    shuffle: { type: 'boolean', describe: 'draw a new order every epoch; --no-shuffle keeps that of the data', default: true },
    groupByLength: { type: 'boolean', describe: 'batches of texts of similar length: less padding', default: false },
    dropLast: { type: 'boolean', describe: 'leave out the last batch of an epoch when it is not full', default: false },
    optimizer: { type: 'string', describe: 'the optimiser', choices: ['adamw', 'sgd'], default: 'adamw' },
    lr: { type: 'number', describe: 'peak learning rate', default: 5e-4, min: 0 },
    weightDecay: { type: 'number', describe: 'weight decay; decoupled in AdamW', default: 0, min: 0 },
    decayAll: { type: 'boolean', describe: 'decay biases and norms too', default: false },
    beta1: { type: 'number', describe: 'AdamW: decay of the first moment', default: 0.9, min: 0, max: 1 },
    beta2: { type: 'number', describe: 'AdamW: decay of the second moment', default: 0.999, min: 0, max: 1 },
    epsilon: { type: 'number', describe: 'AdamW: added to the denominator', default: 1e-8, min: 0 },
    momentum: { type: 'number', describe: 'SGD: momentum', default: 0.9, min: 0, max: 1 },
    nesterov: { type: 'boolean', describe: 'SGD: Nesterov\'s form', default: false },
    schedule: { type: 'string', describe: 'how the learning rate falls', choices: ['constant', 'linear', 'cosine', 'polynomial'], default: 'linear' },
    warmup: { type: 'number', metavar: 'N', describe: 'steps over which it rises first; below 1 a share of all steps', default: 0, min: 0 },
    lrEnd: { type: 'number', describe: 'polynomial: where it ends', default: 1e-7, min: 0 },
    power: { type: 'number', describe: 'polynomial: its exponent', default: 1, min: 0 },
    clip: { type: 'number', metavar: 'NORM', describe: 'largest global norm of the gradient; 0: any', default: 1, min: 0 },
    accumulate: { type: 'number', metavar: 'N', describe: 'batches summed up for one optimiser step', default: 1, min: 1 },
    backboneDropout: { type: 'string', describe: 'dropout of the frozen model while training: what its config.json says, or none, which is faster', choices: ['checkpoint', 'off'], default: 'checkpoint' },
    valid: { type: 'string', metavar: 'FILE', describe: 'validation data' },
    validShare: { type: 'number', metavar: 'SHARE', describe: 'or this share of the training data', min: 0, max: 0.9 },
    evalEvery: { type: 'number', metavar: 'N', describe: 'validate every N steps; default: every epoch', min: 1 },
    earlyStopping: { type: 'number', metavar: 'N', describe: 'stop when N validations in a row bring nothing better', min: 1 },
    metric: { type: 'string', metavar: 'NAME', describe: 'what validation measures; default: what suits the objective', suggest: async () => (await import('../metrics/registry.js')).metricNames() },
    checkpoint: { type: 'string', incidental: true, metavar: 'DIR', describe: 'keep what a stopped run needs here' },
    checkpointEvery: { type: 'number', incidental: true, metavar: 'N', describe: 'steps between checkpoints', default: 100, min: 1 },
    resume: { type: 'boolean', incidental: true, describe: 'go on from --checkpoint, if there is one', default: false },
    ...common('wait', 'log'),
    ...computing(),
  },
  choices: [{
    option: 'objective',
    names: async () => (await import('../objectives/registry.js')).objectiveNames(),
    load: async (name) => (await import('../objectives/registry.js')).loadObjective(name),
  }],
  notes: [describeEvents(TRAIN_EVENTS)],
  examples: [
    { does: 'a LoRA for a classification task', command: 'graft init-adapter -m minilm/ --task classify --labels-from train.arrow | graft train -m minilm/ -d train.arrow --lr 1e-3 --log random.jsonl > topic.safetensors' },
    { does: 'a run that survives being killed', command: 'graft train -m minilm/ -g start.safetensors -d train.arrow --checkpoint run/ --resume -o other.safetensors' },
  ],
  binary: () => true,
  run: async (args) => (await import('../training/train.js')).runTrain(args),
};

export default command;
