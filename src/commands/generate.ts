import { describeEvents, GENERATE_EVENTS } from '../training/log.js';
import { PROCESSOR_OPTIONS } from '../decoding/processors.js';
import { TEMPLATES } from '../objectives/templates.js';
import type { Arguments, Command } from './command.js';
import { common, computing } from './common.js';

const command: Command = {
  name: 'generate',
  summary: 'continue prompts, or make images',
  description: [
    'Reads prompts and writes their rows with what a causal language model says after them: response, and beside it sample (its number among those of the prompt), score (the sum of ln p of its tokens under the distribution they were chosen from; with beam, that over the length to the power of --length-penalty), tokens (how many) and finish (end of text, stop string or length). A batch is written before the next is read. Columns of these names in the data give way: --columns reference=response keeps one.',
    'A prompt that leaves no room for --max-new tokens loses its beginning. Every prompt draws from a stream of its own, so that neither the batch size nor the other prompts change what is drawn for it.',
    'With a diffusion model and a sampler (ddim, ddpm) it makes images: prompt names conditions that the model knows, with commas between them, or label one of them; without either nothing is asked for. Rows come with image, raw pixels, and sample.',
  ],
  options: {
    ...common('model', 'graft', 'data', 'columns', 'output', 'deps'),
    method: { type: 'string', metavar: 'NAME', describe: 'how tokens are chosen, or images sampled', default: 'greedy' },
    maxNew: { type: 'number', metavar: 'N', describe: 'most tokens generated for a prompt', default: 64, min: 1 },
    samples: { type: 'number', metavar: 'N', describe: 'responses or images for each prompt, a row each', default: 1, min: 1 },
    stop: { type: 'string', metavar: 'TEXT', describe: 'ends a response, which is cut before it; repeatable', array: true },
    template: { type: 'string', choices: Object.keys(TEMPLATES), describe: 'how columns become a prompt', default: 'plain' },
    report: { type: 'string', choices: ['gates'], describe: 'gates: a column of that name, with what a MeteoRA graft chose for every token of the response: its text, the adapter that weighs most, and the weights of all in the mean of the modules' },
    maxLength: { type: 'number', metavar: 'N', describe: 'longest prompt in tokens; default: what the model leaves room for', min: 1 },
    ...PROCESSOR_OPTIONS,
    ...common('batchSize', 'log'),
    ...computing(),
  },
  choices: [{
    option: 'method',
    names: async () => [...(await import('../decoding/registry.js')).decodingNames(), ...(await import('../diffusion/registry.js')).samplerNames()],
    load: async (name) => {
      const { loadSampler, samplerNames } = await import('../diffusion/registry.js');
      return samplerNames().includes(name) ? loadSampler(name) : (await import('../decoding/registry.js')).loadDecoding(name);
    },
  }],
  notes: [describeEvents(GENERATE_EVENTS)],
  examples: [
    { does: 'what a language model says next', command: 'graft generate -m gpt2/ -d prompts.jsonl --max-new 20 | graft convert --to jsonl' },
    { does: 'three answers a prompt from a tuned model, likelier tokens only', command: 'graft generate -m gpt2/ -g story.safetensors -d prompts.jsonl --method sample --top-p 0.9 --samples 3 --stop "\n" -o answers.arrow' },
    { does: 'pictures of two shapes, by a diffusion model', command: `printf '%s\\n' '{"prompt": "disc"}' '{"prompt": "ring"}' | graft generate -m unet/ --method ddim --steps 5 --guidance 2 --samples 4 -o drawn.arrow` },
  ],
  binary: () => true,
  run: async (args: Arguments) => (await import('../decoding/run.js')).runGenerate(args),
};

export default command;
