import { entities } from './entities.js';
import type { Generator } from './generator.js';
import { shapes10 } from './shapes10.js';
import { topics } from './topics.js';

export const GENERATORS: readonly Generator[] = [shapes10, topics, entities];
