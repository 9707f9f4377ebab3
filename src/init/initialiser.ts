import type { Paper } from '../adapters/method.js';
import type { Checkpoint } from '../formats/checkpoint.js';
import type { Graft } from '../formats/graft.js';
import type { Model } from '../models/model.js';
import type { OptionSpecs, OptionValues } from '../options.js';
import type { Data } from './collect.js';

/** What an initialiser starts from. */
export interface Start {
  graft: Graft;
  model: Model;
  /** The frozen weights; an initialiser reads one at a time. */
  checkpoint: Checkpoint;
  seed: number;
  data?: Data;
}

/** A published way to start a graft from the weights or the data: one object in one file. */
export interface Initialiser<C extends OptionValues = OptionValues> {
  name: string;
  summary: string;
  paper: Paper;
  options: OptionSpecs;
  needsData: boolean | ((config: C) => boolean);
  /** The graft with new tensors. @throws GraftError (usage) for a graft of another method */
  run(start: Start, config: C): Promise<Graft>;
}
