import { writeTable } from '../../data/write.js';
import { usageError } from '../../errors.js';
import { common } from '../common.js';
import { openInput } from './rows.js';
import type { Operation } from './operation.js';

const operation: Operation = {
  name: 'diffuse',
  summary: 'images as a diffusion model would have them: noise put on and taken off again, held to what is coarse in the image (DDA; what SDA aligns images by)',
  operands: '[FILE]',
  options: {
    ...common('model', 'graft', 'batchSize', 'backend', 'precision', 'threads'),
    steps: { type: 'number', metavar: 'N', describe: "steps that the model's times are spread over", default: 100, min: 1 },
    from: { type: 'number', metavar: 'N', describe: 'of these so many are taken: the noise put on is that of step N; 0 leaves images as they are', default: 50, min: 0 },
    down: { type: 'number', metavar: 'D', describe: 'coarse is what is left when an image is made so many times smaller and large again', default: 4, min: 1 },
    weight: { type: 'number', metavar: 'W', describe: 'how strongly images are held to it', default: 6, min: 0 },
    normOver: { type: 'string', choices: ['image', 'batch'], describe: 'what the guidance is a norm over; batch, as the authors have it, depends on the batch size', default: 'image' },
    into: { type: 'string', metavar: 'COLUMN', describe: 'where the result goes; another name keeps the images beside it', default: 'image' },
  },
  async run(args) {
    if (!args.model) throw usageError('--model is missing: the diffusion model to project with');
    if (!Number.isInteger(args.from) || args.from > args.steps) throw usageError(`--from ${args.from}: it must be a whole number up to --steps ${args.steps}`);
    const [{ startCompute }, { openRuntime }, { readGraft }, { Denoiser }, { projectTable }] = await Promise.all([
      import('../../compute.js'), import('../../runtime.js'), import('../../formats/graft.js'), import('../../diffusion/denoiser.js'), import('../../diffusion/project-table.js')]);
    await startCompute(args);
    const runtime = await openRuntime({ model: args.model, grafts: await Promise.all((args.graft as string[]).map(readGraft)) });
    const { steps, from, down, weight, normOver, into, seed, batchSize } = args;
    const flow = projectTable(await openInput(args), new Denoiser(runtime, runtime.grafts, true), { steps, from, down, weight, normOver, into, seed, batchSize });
    await writeTable(args.output, flow.schema, flow.batches);
    runtime.dispose();
  },
};

export default operation;
