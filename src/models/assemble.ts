import { headTensors, layoutFor, ownHead, type HeadLayouts } from './heads.js';
import type { Head, Model } from './model.js';
import type { Headers, Modules } from './modules.js';

interface Parts extends Pick<Model, 'input' | 'hiddenSize' | 'layers' | 'maxLength' | 'imageSize' | 'defaultTargets' | 'backbone'> {
  heads: HeadLayouts;
  /** By task, the tensor of the checkpoint whose rows count the labels. */
  width: Partial<Record<Head['task'], string>>;
}

/** A model from its modules, backbone and heads. */
export function assemble(checkpoint: Headers, modules: Modules, { heads, width, ...parts }: Parts): Model {
  const { model_type: type } = checkpoint.config;
  const logits = modules.logits(parts.hiddenSize);
  const own = ownHead(checkpoint, heads, width);
  return {
    ...parts, type,
    sites: modules.sites, parameters: modules.parameters,
    head: own,
    reads: (head) => layoutFor(heads, head, type).reads,
    headTensors: (head) => headTensors(checkpoint, layoutFor(heads, head, type), head, own),
    logits: (f, features, head) => {
      const layout = layoutFor(heads, head, type);
      return logits(f, features.hidden, (hidden) => layout.logits(f, { ...features, hidden }));
    },
  };
}
