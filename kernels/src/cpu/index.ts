/** Registers every native kernel of graft-cpu and graft-cuda. One import line per file. */
import './shape.js';
import './complex.js';
import './matmul.js';
import './product.js';
import './elementwise.js';
import './reduce.js';
import './move.js';
import './gather.js';
import './resize.js';
import './rows.js';
import './conv.js';
import './pooling.js';
import './batch-norm.js';
import './attention.js';
import './optimise.js';
import './dropout.js';
import './augment.js';
