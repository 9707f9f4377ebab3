/** Tests of graft-cpu's kernels that are also run on graft-cuda. */
export const AGAIN = ['backend', 'elementwise', 'reduce', 'shape', 'fused-rows', 'dropout', 'optimise', 'sample', 'put-rows', 'residual', 'matmul', 'linear', 'linear-cross-entropy', 'low-rank', 'coded', 'attention', 'attention-bf16', 'conv', 'batch-norm', 'pool', 'augment', 'tape', 'repeated'];
