import { usageError } from '../errors.js';
import { dareLinear, dareTies } from './dare.js';
import embed from './embed.js';
import linear from './linear.js';
import type { MergingMethod } from './method.js';
import slerp from './slerp.js';
import spmFactors from './spm-factors.js';
import taskArithmetic from './task-arithmetic.js';
import ties from './ties.js';

export const MERGING: readonly MergingMethod<any>[] = [linear, taskArithmetic, ties, dareLinear, dareTies, slerp, embed, spmFactors]; // eslint-disable-line @typescript-eslint/no-explicit-any

/** @throws GraftError (usage) for an unknown name. */
export function mergingMethod(name: string): MergingMethod {
  const method = MERGING.find((m) => m.name === name);
  if (!method) throw usageError(`unknown method '${name}': one of ${MERGING.map((m) => m.name).join(', ')}`);
  return method;
}
