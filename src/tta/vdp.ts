import { tf, type Tensor, type Tensor2D } from '@graft/kernels';
import { patchOptions, patchShape, pixelSites, placed, type PatchConfig } from '../adapters/pixel-prompt.js';
import { homeostasis } from './homeostasis.js';
import { entropy, softCrossEntropy } from './losses.js';
import type { TtaMethod } from './method.js';
import type { Source } from './network.js';
import { adam, adamOptions, type AdamConfig } from './optimiser.js';
import { averagingOptions, pseudoTarget } from './pseudo-target.js';
import { informationLoss } from './shot.js';
import { BATCH } from './statistics.js';
import { pupil, teacherOptions } from './teacher.js';

interface Config extends AdamConfig, PatchConfig { nAug: number; pTh: number; alpha: number; loss: keyof typeof LOSSES; lambda: number; xi: number; shift: number }

/** Names of ψ, specific to a domain, and ω, common to all. */
const [DSP, DAP] = ['pixels.dsp', 'pixels.dap'];

const LOSSES = {
  /** CE(ŷ, p), the paper's. */
  ce: (z: Tensor2D, target: Tensor2D | null): Tensor => tf.mean(softCrossEntropy(target!, z)),
  entropy: (z: Tensor2D): Tensor => tf.mean(entropy(z)),
  im: (z: Tensor2D): Tensor => informationLoss(z),
};

/**
 * VDP (Gan et al., 2023): the network stays as it is, and learns two prompts that are added to every image, f(x + ω + ψ): ψ over the whole
 * image, ω on a patch. Both follow the teacher's prediction; λ Σ Λ_i (ω_i - ω*_i)² holds ω to what earlier domains were sensitive to. A domain
 * begins where the mean confidence jumps by more than `shift`. Sizes, rates and the form of Λ are not the paper's, which was not at hand.
 * The logits are those after the update.
 */
const vdp: TtaMethod<Config> = {
  name: 'vdp',
  summary: 'prompts added to the image, one specific to the domain and one common to all; the network untouched',
  paper: { title: 'Decorate the Newcomers: Visual Domain Prompt for Continual Test Time Adaptation', authors: 'Gan, Bai, Lou, Ma, Zhang, Shi, Luo', year: 2023, url: 'https://arxiv.org/abs/2212.04145' },
  options: {
    ...adamOptions(1e-3),
    ...averagingOptions,
    ...teacherOptions,
    loss: { type: 'string', describe: "what the prompts learn from: the teacher's prediction, the entropy, or the entropy less that of the mean prediction", default: 'ce', choices: Object.keys(LOSSES) },
    ...patchOptions(0.75),
    lambda: { type: 'number', describe: 'weight of what holds the common prompt', default: 1, min: 0 },
    xi: { type: 'number', describe: 'keeps the importance of pixels that hardly moved finite', default: 0.1, min: 0 },
    shift: { type: 'number', describe: 'jump of the mean confidence at which a domain begins', default: 0.1, min: 0 },
  },
  start(source, { loss, size, location, lambda, xi, shift, alpha, ...rest }, seed) {
    const { model } = source, prompted = withPrompts(source, location);
    const start = new Map([[DSP, tf.zeros(patchShape(model, 1))], [DAP, tf.zeros(patchShape(model, size))]]);
    const [student, teacher] = [0, 1].map(() => prompted.copy([], BATCH, [], start));
    tf.dispose([...start.values()]);
    const self = pupil(student, teacher, adam(student.own, rest)), { target, dispose } = pseudoTarget(source, teacher, rest, seed);
    const omega = student.own.get(DAP)!, hold = homeostasis(omega, xi);
    let confidence = -1; // of the batch before

    return {
      ...self,
      step(x) {
        const yHat = loss === 'ce' ? tf.softmax(target(x, self.steps)) : null;
        const { grads, kept } = student.gradients(() => {
          const z = student.logits(x);
          return { loss: LOSSES[loss](z, yHat), kept: z };
        });
        const now = tf.mean(tf.max(tf.softmax(kept), -1)).dataSync()[0];
        if (confidence >= 0 && Math.abs(now - confidence) > shift) hold.consolidate();
        confidence = now;
        const before = tf.mul(omega, 1), g = grads.get(DAP)!;
        self.optimiser.step(new Map([...grads, [DAP, tf.add(g, tf.mul(lambda, hold.pull()))]]));
        hold.moved(g, before);
        tf.dispose([kept, ...grads.values()]);
        self.follow(alpha);
        return student.logits(x);
      },
      state: () => new Map<string, Tensor>([...self.state(), ...hold.state(), ['confidence', tf.scalar(confidence)]]),
      restore(state) {
        self.restore(state);
        hold.restore(state);
        confidence = state.get('confidence')!.dataSync()[0];
      },
      learnt: () => new Map(),
      /** Both prompts as one over the whole image. */
      graft: () => ({
        method: 'pixel-prompt', config: { size: 1, location: 'center' },
        tensors: new Map([['pixels.prompt', tf.add(student.own.get(DSP)!, placed(omega, model.imageSize!, location))]]),
      }),
      dispose() {
        dispose();
        hold.dispose();
        self.dispose();
      },
    };
  },
};

/** The model with ψ and ω, which its copies own, added to its images. */
const withPrompts = (source: Source, location: PatchConfig['location']): Source => source.with({
  name: 'domain-prompts', summary: '', paper: null, options: {}, params: () => [], sites: pixelSites,
  change: ({ x, base, pass }) => base(tf.add(x, tf.add(pass.weight(DSP), placed(pass.weight(DAP), x.shape.slice(1, 3), location)))),
});

export default vdp;
