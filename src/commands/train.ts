import type { Command } from './command.js';
import { describeEvents, TRAIN_EVENTS } from '../training/log.js';
import { SCHEDULES } from '../training/schedule.js';
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
    epochs: { type: 'number', metavar: 'E', describe: 'passes over the data, or part of one', default: 3, min: 0 },
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
    schedule: { type: 'string', describe: 'how the learning rate falls', choices: SCHEDULES, default: 'linear' },
    warmup: { type: 'number', metavar: 'STEPS', describe: 'steps over which it rises first; below 1 a share of all steps', default: 0, min: 0 },
    lrEnd: { type: 'number', describe: 'polynomial: where it ends', default: 1e-7, min: 0 },
    power: { type: 'number', describe: 'polynomial: its exponent', default: 1, min: 0 },
    clip: { type: 'number', metavar: 'NORM', describe: 'largest global norm of the gradient; 0: any', default: 1, min: 0 },
    accumulate: { type: 'number', metavar: 'N', describe: 'batches summed up for one optimiser step', default: 1, min: 1 },
    gradientCheckpointing: { type: 'boolean', incidental: true, describe: 'keep of every block its input alone and compute the block again in the backward pass: the same result to the last bit, in much less memory and about a third more time', default: false },
    offload: { type: 'boolean', incidental: true, describe: 'with --backend cuda: frozen weights stay in host memory and come to the GPU as they are needed, those of the next block while this one computes; it then holds two blocks at a time', default: false },
    backboneDropout: { type: 'string', describe: 'dropout of the frozen model while training: what its config.json says, or none, which is faster', choices: ['checkpoint', 'off'], default: 'checkpoint' },
    cudaGraphs: { type: 'boolean', incidental: true, describe: 'with --backend cuda: gradients of batches of one shape, as --pack makes them, are recorded as CUDA graphs and queued whole (with several processes each records its own); the same bytes', default: false },
    valid: { type: 'string', metavar: 'FILE', describe: 'validation data' },
    validShare: { type: 'number', metavar: 'SHARE', describe: 'or this share of the training data', min: 0, max: 0.9 },
    evalEvery: { type: 'number', metavar: 'N', describe: 'validate every N steps; default: every epoch', min: 1 },
    earlyStopping: { type: 'number', metavar: 'N', describe: 'stop when N validations in a row bring nothing better', min: 1 },
    metric: { type: 'string', metavar: 'NAME', describe: 'what validation measures; default: what suits the objective', suggest: async () => (await import('../metrics/registry.js')).metricNames() },
    checkpoint: { type: 'string', incidental: true, metavar: 'DIR', describe: 'keep what a stopped run needs here' },
    checkpointEvery: { type: 'number', incidental: true, metavar: 'N', describe: 'steps between checkpoints', default: 100, min: 1 },
    resume: { type: 'boolean', incidental: true, describe: 'go on from --checkpoint, if there is one', default: false },
    dryRun: { type: 'boolean', incidental: true, describe: 'train nothing: print the memory that a run takes, on the CPU and on a GPU, without and with --gradient-checkpointing (see MEMORY)', default: false },
    ...common('json'),
    ...common('wait', 'log'),
    ...computing(),
  },
  choices: [{
    option: 'objective',
    names: async () => (await import('../objectives/registry.js')).objectiveNames(),
    load: async (name) => (await import('../objectives/registry.js')).loadObjective(name),
  }],
  notes: [describeEvents(TRAIN_EVENTS), {
    title: 'MEMORY',
    items: [
      { term: '', text: '--dry-run runs the step of the largest batch on backends that compute nothing and only count, so that what it prints holds for every model and method: frozen weights, the copies of them that matrix products keep, trained tensors, gradients, the optimiser\'s moments, activations, and the peak, which is all of them together at their most. On the CPU frozen weights are mapped from their files and are no part of the peak. Beside the peak there is the program itself with the data, some 150 MiB and more, memory kept for reuse, and on a GPU what the driver takes. With --json it prints an object a line, in bytes.' },
      { term: '', text: 'What lowers the peak: --gradient-checkpointing, a smaller --batch-size with a larger --accumulate, a smaller --max-length, --precision bf16, and on a GPU --offload.' },
    ],
  }, {
    title: 'SEVERAL PROCESSES',
    items: [
      { term: '', text: 'mpirun -n N graft train … (srun and torchrun as well) trains with N processes, each on its share of the rows of every batch: --batch-size is that of all together, and the result is that of one process, but for the order of sums and for dropout, which draws other numbers. With --backend cuda each process has a GPU of its machine and gradients are summed up by NCCL (libnccl.so.2, where it is found); otherwise they go through TCP by way of rank 0. Rank 0 alone writes files and tells progress. A process that ends early ends all.' },
      { term: '', text: 'Ranks are read from OMPI_COMM_WORLD_RANK, PMI_RANK, SLURM_PROCID or RANK and what belongs to them. Processes on several machines need MASTER_ADDR, the name of rank 0\'s machine; MASTER_PORT is its port.' },
    ],
  }],
  examples: [
    { does: 'a LoRA for a classification task', command: 'graft init-adapter -m minilm/ --task classify --labels-from train.arrow | graft train -m minilm/ -d train.arrow --lr 1e-3 --log random.jsonl > topic.safetensors' },
    { does: 'a diffusion model, trained whole on labelled pictures', command: 'graft init-adapter -m unet/ --method full | graft train -m unet/ -d images.arrow --objective diffusion --steps 2 --lr 2e-3 -o drawn.safetensors' },
    { does: 'what a run would take', command: 'graft init-adapter -m minilm/ --task classify --labels-from train.arrow | graft train -m minilm/ -d train.arrow --dry-run' },
    { does: 'two processes on the CPU, as mpirun -n 2 would start them', command: 'graft init-adapter -m minilm/ --task classify --labels-from train.arrow -o two.safetensors; export WORLD_SIZE=2; for r in 0 1; do RANK=$r graft train -m minilm/ -g two.safetensors -d train.arrow -o both.safetensors & done; wait' },
    { does: 'a run that survives being killed', command: 'graft train -m minilm/ -g start.safetensors -d train.arrow --checkpoint run/ --resume -o other.safetensors' },
  ],
  binary: (args) => !args.dryRun,
  run: async (args) => (await import('../training/train.js')).runTrain(args),
};

export default command;
