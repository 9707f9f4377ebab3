import { tf, untracked, type Activation, type Tensor, type Tensor2D, type Tensor4D } from '@graft/kernels';
import type { Checkpoint } from '../formats/checkpoint.js';
import type { Forward } from './forward.js';
import { classNames, dropFirst, type Batch, type Features, type Head, type HeadTensor, type Model } from './model.js';
import { number, SiteList } from './sites.js';

/** The encoders that share BERT's body; they differ in positions and heads. */
type Family = 'bert' | 'roberta';

/** BERT (Devlin et al., 2019), RoBERTa and XLM-R: post-norm Transformer encoders over word, position and type embeddings. */
export class Bert implements Model {
  readonly input = 'text';
  readonly sites;
  readonly defaultTargets = ['query', 'value'];
  readonly head: Head | null;
  readonly hiddenSize: number;
  readonly layers: number;
  readonly type: string;
  private readonly family: Family;
  private readonly p: string;
  private readonly heads: number;
  private readonly act: Activation;

  constructor(private readonly checkpoint: Pick<Checkpoint, 'config' | 'has' | 'info'>) {
    const { config } = checkpoint;
    this.type = config.model_type;
    this.family = this.type === 'bert' ? 'bert' : 'roberta';
    this.p = checkpoint.has(`${this.family}.embeddings.word_embeddings.weight`) ? `${this.family}.` : '';
    this.hiddenSize = number(config, 'hidden_size');
    this.layers = number(config, 'num_hidden_layers');
    this.heads = number(config, 'num_attention_heads');
    this.act = (config.hidden_act ?? 'gelu') as Activation;
    this.head = this.ownHead();
    this.sites = this.listSites();
  }

  private listSites(): Model['sites'] {
    const { config } = this.checkpoint;
    const d = this.hiddenSize, L = this.layers, p = this.p, ffn = number(config, 'intermediate_size'), epsilon = number(config, 'layer_norm_eps', 1e-12);
    const s = new SiteList();
    s.embedding(`${p}embeddings.word_embeddings`, -1, 'embed', number(config, 'vocab_size'), d);
    s.add('tokens', `${p}embeddings`, -1, 'embed', d);
    s.embedding(`${p}embeddings.position_embeddings`, -1, 'position', number(config, 'max_position_embeddings'), d);
    s.embedding(`${p}embeddings.token_type_embeddings`, -1, 'type', number(config, 'type_vocab_size'), d);
    s.norm(`${p}embeddings.LayerNorm`, -1, 'embed', d, 'layer', epsilon);
    for (let i = 0; i < L; i++) {
      const b = `${p}encoder.layer.${i}`;
      s.add('block', b, i, 'block', d);
      for (const role of ['query', 'key', 'value']) s.linear(`${b}.attention.self.${role}`, i, role, d, d);
      s.add('attention', `${b}.attention.self`, i, 'self', d, d, { heads: this.heads, kvHeads: this.heads, headDim: d / this.heads });
      s.linear(`${b}.attention.output.dense`, i, 'output', d, d);
      s.add('attention.output', `${b}.attention`, i, 'self', d, d, { postNorm: true });
      s.norm(`${b}.attention.output.LayerNorm`, i, 'attention', d, 'layer', epsilon);
      s.linear(`${b}.intermediate.dense`, i, 'up', d, ffn);
      s.linear(`${b}.output.dense`, i, 'down', ffn, d);
      s.add('ffn.output', `${b}.output`, i, 'ffn', d, d, { postNorm: true });
      s.norm(`${b}.output.LayerNorm`, i, 'ffn', d, 'layer', epsilon);
    }
    this.listHeads(s, d, L, epsilon);
    return s.sites;
  }

  private listHeads(s: SiteList, d: number, L: number, epsilon: number): void {
    const labels = this.head?.labels?.length ?? 0, V = number(this.checkpoint.config, 'vocab_size');
    s.linear(`${this.p}pooler.dense`, L, 'pooler', d, d);
    s.linear('classifier', L, 'head', d, labels);
    s.linear('classifier.dense', L, 'head', d, d);
    s.linear('classifier.out_proj', L, 'head', d, labels);
    const [dense, norm] = this.lmNames();
    s.linear(dense, L, 'head', d, d);
    s.norm(norm, L, 'head', d, 'layer', epsilon);
    s.linear(this.family === 'bert' ? 'cls.predictions.decoder' : 'lm_head.decoder', L, 'head', d, V, { weight: `${this.p}embeddings.word_embeddings.weight`, bias: this.lmBias() });
    s.add('logits', 'logits', L, 'head', d, labels);
  }

  private lmNames(): [string, string] {
    return this.family === 'bert' ? ['cls.predictions.transform.dense', 'cls.predictions.transform.LayerNorm'] : ['lm_head.dense', 'lm_head.layer_norm'];
  }

  private lmBias(): string {
    return this.family === 'bert' ? 'cls.predictions.bias' : 'lm_head.bias';
  }

  private ownHead(): Head | null {
    const { checkpoint } = this;
    if (checkpoint.has(this.lmBias())) return { task: 'mlm' };
    const tag = /TokenClassification/.test(String((checkpoint.config.architectures as string[] | undefined)?.[0]));
    if (checkpoint.has('classifier.weight')) return { task: tag ? 'tag' : 'classify', labels: classNames(checkpoint.config, checkpoint.info('classifier.weight').shape[0]) };
    if (checkpoint.has('classifier.out_proj.weight')) return { task: 'classify', labels: classNames(checkpoint.config, checkpoint.info('classifier.out_proj.weight').shape[0]) };
    return null;
  }

  headTensors(head: Head): HeadTensor[] {
    const d = this.hiddenSize, C = head.labels?.length ?? 1, std = number(this.checkpoint.config, 'initializer_range', 0.02);
    const dense = (name: string, out: number): HeadTensor[] => [{ name: `${name}.weight`, shape: [out, d], init: 'normal', std }, { name: `${name}.bias`, shape: [out], init: 'zeros' }];
    const wanted = (): HeadTensor[] => {
      if (head.task === 'mlm') {
        const [transform, norm] = this.lmNames();
        return [...dense(transform, d), { name: `${norm}.weight`, shape: [d], init: 'ones' }, { name: `${norm}.bias`, shape: [d], init: 'zeros' },
          { name: this.lmBias(), shape: [number(this.checkpoint.config, 'vocab_size')], init: 'zeros' }];
      }
      if (head.task === 'clm') throw new Error('an encoder has no causal head');
      if (head.task === 'tag') return dense('classifier', C);
      return this.family === 'roberta' ? [...dense('classifier.dense', d), ...dense('classifier.out_proj', C)] : [...dense(`${this.p}pooler.dense`, d), ...dense('classifier', C)];
    };
    const fresh = wanted();
    // A classifier of its own labels is always new; a pooler or masked-LM head the checkpoint has is kept.
    return fresh.filter((t) => t.name.startsWith('classifier') || !this.checkpoint.has(t.name));
  }

  backbone(f: Forward, batch: Batch): Features {
    if (batch.kind !== 'text') throw new Error('a text model was given images');
    const p = this.p;
    const { x, mask, prompts } = f.below(() => this.embed(f, batch.ids, batch.mask, batch.types));
    let h = x;
    for (let i = 0; i < this.layers; i++) h = f.block(`${p}encoder.layer.${i}`, h, (z) => this.layer(f, `${p}encoder.layer.${i}`, z, mask as Tensor2D));
    return { hidden: dropFirst(h, prompts), mask: batch.mask };
  }

  private embed(f: Forward, ids: Tensor2D, mask: Tensor2D, types?: Tensor2D) {
    const e = `${this.p}embeddings`;
    const words = f.embedding(`${e}.word_embeddings`, ids);
    const tokens = f.tokens(e, { x: words, mask, prompts: 0 });
    const [B, T] = tokens.x.shape;
    const n = tokens.prompts;
    const place = f.embedding(`${e}.position_embeddings`, this.positions(ids, B, T, n, f.positionOffset));
    const segment = f.embedding(`${e}.token_type_embeddings`, tf.pad(types ?? tf.zerosLike(ids), [[0, 0], [n, 0]]));
    return { ...tokens, x: f.norm(`${e}.LayerNorm`, tf.add(tf.add(tokens.x, segment), place)) };
  }

  /** BERT counts from 0; RoBERTa counts the tokens that are no padding, from padding_idx + 1. Prompts come first. */
  private positions(ids: Tensor2D, B: number, T: number, prompts: number, offset: number): Tensor {
    return untracked(() => {
      const counted = tf.tile(tf.reshape(tf.range(offset, offset + T, 1, 'int32'), [1, T]), [B, 1]);
      if (this.family === 'bert') return counted;
      const pad = number(this.checkpoint.config, 'pad_token_id', 1);
      const real = tf.pad(tf.cast(tf.notEqual(ids, pad), 'int32'), [[0, 0], [prompts, 0]], 1);
      return tf.add(tf.mul(tf.cumsum(real, 1), real), tf.scalar(pad + offset, 'int32'));
    });
  }

  private layer(f: Forward, b: string, x: Tensor, mask: Tensor2D): Tensor {
    const attended = f.output('attention.output', `${b}.attention`, x, (z) => this.attend(f, b, z, mask),
      { stream: x, norm: (t) => f.norm(`${b}.attention.output.LayerNorm`, t) });
    const y = f.norm(`${b}.attention.output.LayerNorm`, tf.add(attended, x));
    let mid: Tensor | undefined;
    const fed = f.output('ffn.output', `${b}.output`, y, (z) => f.linear(`${b}.output.dense`, (mid = f.linear(`${b}.intermediate.dense`, z, this.act))),
      { stream: y, norm: (t) => f.norm(`${b}.output.LayerNorm`, t), mid: () => mid! });
    return f.norm(`${b}.output.LayerNorm`, tf.add(fed, y));
  }

  private attend(f: Forward, b: string, x: Tensor, keyMask: Tensor2D): Tensor {
    const [B, T] = x.shape, dh = this.hiddenSize / this.heads;
    const part = (role: string): Tensor4D => tf.reshape(f.linear(`${b}.attention.self.${role}`, x), [B, T, this.heads, dh]);
    const context = f.attention(`${b}.attention.self`, x, { q: part('query'), k: part('key'), v: part('value'), keyMask, causal: false, scale: 1 / Math.sqrt(dh) });
    return f.linear(`${b}.attention.output.dense`, tf.reshape(context, [B, T, this.hiddenSize]));
  }

  logits(f: Forward, { hidden }: Features, head: Head): Tensor {
    const base = (h: Tensor): Tensor => {
      if (head.task === 'mlm') return this.lmLogits(f, h);
      if (head.task === 'tag') return f.linear('classifier', h);
      const cls = tf.squeeze(tf.slice(h, [0, 0, 0], [-1, 1, -1]), [1]);
      if (this.family === 'roberta') return f.linear('classifier.out_proj', f.linear('classifier.dense', cls, 'tanh'));
      return f.linear('classifier', f.linear(`${this.p}pooler.dense`, cls, 'tanh'));
    };
    return f.logits('logits', hidden, base);
  }

  private lmLogits(f: Forward, h: Tensor): Tensor {
    const [dense, norm] = this.lmNames();
    const z = f.norm(norm, f.linear(dense, h, this.act));
    return f.linear(this.family === 'bert' ? 'cls.predictions.decoder' : 'lm_head.decoder', z);
  }
}

