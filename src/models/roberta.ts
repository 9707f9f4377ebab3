import { bertEncoder } from './bert.js';
import { assemble } from './assemble.js';
import { count } from './config.js';
import { dense, firstToken, outputs, scaleAndShift, type HeadLayouts } from './heads.js';
import type { Model } from './model.js';
import { modulePrefix, Modules, type Headers } from './modules.js';

/** RoBERTa (Liu et al., 2019) and XLM-R (Conneau et al., 2020): BERT's blocks, positions counted from padding_idx + 1, heads of its own. */
export default function roberta(checkpoint: Headers): Model {
  const m = new Modules(checkpoint);
  const prefix = modulePrefix(checkpoint, 'roberta.', 'embeddings.word_embeddings.weight');
  const encoder = bertEncoder(checkpoint, m, prefix, count(checkpoint, 'pad_token_id', 1, [0, 2 ** 28]) + 1);
  const { d, std, rows } = encoder;
  m.layer = encoder.layers;
  const tagger = m.headLinear('classifier', d);
  const [drop, dropAgain] = ['dropout', 'classifier.dropout'].map((name) => m.dropout(name, encoder.classifierDropout));
  const hiddenLayer = m.linear('classifier.dense', 'head', [d, d], { bias: 'classifier.dense.bias' });
  const project = m.headLinear('classifier.out_proj', d);
  const transform = m.linear('lm_head.dense', 'head', [d, d], { bias: 'lm_head.dense.bias' });
  const norm = m.norm('lm_head.layer_norm', 'layer', d, encoder.epsilon, 'head');
  const decoder = m.headLinear('lm_head.decoder', d, { weight: encoder.table, bias: 'lm_head.bias' });

  const heads: HeadLayouts = {
    classify: {
      tensors: (head) => [...dense('classifier.dense', d, d, std), ...dense('classifier.out_proj', outputs(head), d, std)],
      reads: 'first',
      logits: (f, { hidden }) => project(f, dropAgain(f, hiddenLayer(f, drop(f, firstToken(hidden)), 'tanh'))),
    },
    tag: {
      tensors: (head) => dense('classifier', outputs(head), d, std),
      logits: (f, { hidden }) => tagger(f, drop(f, hidden)),
    },
    mlm: {
      tensors: () => [],
      below: [...dense('lm_head.dense', d, d, std), ...scaleAndShift('lm_head.layer_norm', d), { name: 'lm_head.bias', shape: [rows], init: 'zeros' }],
      logits: (f, { hidden }) => decoder(f, norm(f, transform(f, hidden, 'gelu'))),
    },
  };
  heads.regress = heads.classify;
  return assemble(checkpoint, m, { ...encoder.parts, heads, width: { classify: 'classifier.out_proj.weight', tag: 'classifier.weight' } });
}
