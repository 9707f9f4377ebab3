import { Meter } from '../metrics/meter.js';
import { chooseMetrics } from '../metrics/registry.js';
import type { Example, Objective, Preparation } from '../objectives/objective.js';
import { predictExamples } from '../predict.js';
import { prediction } from '../predictions.js';

/** Examples with what they were prepared by. */
export interface Prepared { examples: Example[]; p: Preparation }

/** Metrics of which less is better. */
const FALLING = ['error', 'nll', 'brier', 'ece', 'perplexity', 'token-nll', 'bits-per-byte', 'noise-mse'];

/** Measures one metric of a model on validation rows. */
export class Validation {
  readonly metric: string;
  private readonly larger: boolean;

  /** @param metric default: what suits the objective. @throws GraftError (usage) for a metric unknown or of another kind */
  constructor(private readonly objective: Objective, private readonly held: Prepared, private readonly batchSize: number, metric?: string) {
    this.metric = metric ?? objective.metric.name;
    this.larger = metric === undefined ? objective.metric.larger : !FALLING.includes(metric);
    chooseMetrics([this.metric], objective.kind);
  }

  measure(): number {
    const { objective, held: { examples, p } } = this;
    const meter = new Meter(chooseMetrics([this.metric], objective.kind), { names: p.runtime.head?.labels ?? [] });
    for (let i = 0; i < examples.length; i += this.batchSize) {
      for (const row of predictExamples(objective, examples.slice(i, i + this.batchSize), p)) meter.add(prediction(objective.kind, row, '', p.table.name));
    }
    return meter.results()[0].value as number;
  }

  better(value: number, best: number | undefined): boolean {
    return best === undefined || (this.larger ? value > best : value < best);
  }
}
