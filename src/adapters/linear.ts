import type { Method } from './method.js';

/** The task head alone, on frozen features (linear probing). */
const linear: Method = {
  name: 'linear',
  summary: 'the task head alone',
  paper: null,
  options: {},
  sites: () => [],
  params: () => [],
};

export default linear;
