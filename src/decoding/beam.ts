import { largestFew } from '@graft/kernels/distribution';
import type { OptionValues } from '../options.js';
import type { DecodingMethod, Finished, Search, Sequence, Setting } from './method.js';
import { toLogProbabilities } from './probabilities.js';

export interface BeamConfig extends OptionValues { beams: number; lengthPenalty: number; early: 'yes' | 'no' | 'never' }

/**
 * The likeliest whole texts: n of them grow together, each step keeping the best. An ended text y is worth ln p(y)/|y|^α, its end
 * counted and the prompt not.
 */
const beam: DecodingMethod<BeamConfig> = {
  name: 'beam',
  summary: 'the likeliest texts, several growing together',
  paper: { title: "Google's Neural Machine Translation System", authors: 'Wu, Schuster, Chen et al.', year: 2016, url: 'https://arxiv.org/abs/1609.08144' },
  options: {
    beams: { type: 'number', metavar: 'N', default: 4, min: 1, describe: 'texts that grow together' },
    lengthPenalty: { type: 'number', metavar: 'A', default: 1, describe: 'exponent of the length; above 0 favours long texts' },
    early: { type: 'string', default: 'no', choices: ['yes', 'no', 'never'], describe: 'stop with N ended texts; when the best that grows is worth no more at its present length; or at its longest' },
  },
  start: (prompt, setting, config, samples) => new Beams(prompt, setting, config, samples),
};

export default beam;

class Beams implements Search {
  private growing: Sequence[];
  private ended: (Finished & { worth: number })[] = [];

  constructor(prompt: readonly number[], private readonly setting: Setting, private readonly config: BeamConfig, private readonly samples: number) {
    this.growing = [{ ids: prompt, prompt: prompt.length, score: 0 }];
  }

  /** One at first: copies of the prompt would only repeat one another. */
  readonly width = 1;

  step(logits: readonly Float32Array[]): { parent: number; token: number }[] {
    const { endIds } = this.setting, n = this.config.beams, K = (endIds.size + 1) * n;
    const candidates = this.growing.flatMap((s, parent) => {
      const scores = toLogProbabilities(logits[parent]);
      this.setting.process(scores, s);
      return largestFew(scores, Math.min(K, scores.length)).map((token) => ({ parent, token, score: s.score + scores[token] }));
    }).filter((c) => c.score > -Infinity).sort((a, b) => b.score - a.score).slice(0, K);

    const next: typeof candidates = [], grown: Sequence[] = [];
    candidates.forEach((c, rank) => {
      const s: Sequence = { ...this.growing[c.parent], ids: [...this.growing[c.parent].ids, c.token], score: c.score };
      const finish = this.setting.ended(s);
      if (finish && rank < n) this.ended.push({ ...s, finish, worth: this.worth(s, s.ids.length - s.prompt) });
      if (finish || grown.length === n) return;
      grown.push(s);
      next.push(c);
    });
    this.ended = this.ended.sort((a, b) => b.worth - a.worth).slice(0, n);
    this.growing = grown;
    return grown.length === 0 || this.settled(grown[0]) ? [] : next.map(({ parent, token }) => ({ parent, token }));
  }

  private worth(s: Sequence, length: number): number {
    return s.score / length ** this.config.lengthPenalty;
  }

  /** No text that grows can be worth more than the worst that ended. */
  private settled(best: Sequence): boolean {
    const { beams, early, lengthPenalty } = this.config;
    if (this.ended.length < beams) return false;
    if (early === 'yes') return true;
    const length = early === 'never' && lengthPenalty > 0 ? this.setting.maxNew : best.ids.length - best.prompt;
    return this.worth(best, length) <= this.ended.at(-1)!.worth;
  }

  results(): Finished[] {
    return this.ended.slice(0, this.samples).map((e) => ({ ...e, score: e.worth }));
  }
}
