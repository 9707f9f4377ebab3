// Commands with --backend tensorflow: what graft's fused operations are defined by, computed by TensorFlow.
import { besideCpu } from '../support/beside.js';
import { scratch } from '../support/tiny.js';

process.env.TF_ENABLE_ONEDNN_OPTS ??= '0'; // newer TensorFlows greet on standard error otherwise
besideCpu('tensorflow', scratch(), process.env.GRAFT_TENSORFLOW ? false : 'GRAFT_TENSORFLOW names no folder; test/tensorflow/build.sh makes one');
