import type { Drawn, Sampling } from '@graft/kernels/distribution';
import { toLogProbabilities } from './probabilities.js';
import type { Finished, Search, Sequence, Setting } from './method.js';

/** Sequences that grow without regard to one another: `choose` gives the next token of one of them from its processed logits. */
export class Independent implements Search {
  private growing: (Sequence & { sample: number })[];
  private readonly ended: (Finished & { sample: number })[] = [];

  /**
   * @param choose logits [V], which it may overwrite with ln p of the distribution it chose from; which sample; gives the token and its ln p
   * @param drawing how tokens are drawn, where `choose` draws them
   */
  constructor(prompt: readonly number[], readonly width: number, private readonly setting: Setting, private readonly choose: (logits: Float32Array, sample: number) => Drawn,
    private readonly drawing?: { sampling: Sampling; uniform(sample: number): number }) {
    this.growing = Array.from({ length: width }, (_, sample) => ({ ids: prompt, prompt: prompt.length, score: 0, sample }));
  }

  step(logits: readonly Float32Array[]): { parent: number; token: number }[] {
    return this.take(this.growing.map((s, parent) => {
      this.setting.process(logits[parent], s);
      return this.choose(logits[parent], s.sample);
    }));
  }

  get sampling(): Sampling | null {
    return (this.setting.plain && this.drawing?.sampling) || null;
  }

  uniforms(): number[] {
    return this.growing.map((s) => this.drawing!.uniform(s.sample));
  }

  take(drawn: readonly Drawn[]): { parent: number; token: number }[] {
    const next: typeof this.growing = [], choices: { parent: number; token: number }[] = [];
    this.growing.forEach((s, parent) => {
      const { token, score } = drawn[parent];
      const grown = { ...s, ids: [...s.ids, token], score: s.score + score };
      const finish = this.setting.ended(grown);
      if (finish) return void this.ended.push({ ...grown, finish });
      next.push(grown);
      choices.push({ parent, token });
    });
    this.growing = next;
    return choices;
  }

  results(): Finished[] {
    return this.ended.sort((a, b) => a.sample - b.sample);
  }
}

/** The token at an index of logits [V], with its ln p. */
export function chosen(logits: Float32Array, token: number): { token: number; score: number } {
  return { token, score: toLogProbabilities(logits)[token] };
}
