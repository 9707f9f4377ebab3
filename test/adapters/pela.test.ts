import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { svd, tf, useBackend, type Scalar, type Tensor } from '@graft/kernels';
import pela, { rankOf } from '../../src/adapters/pela.js';
import { countSpecs, ownedTensors } from '../../src/adapters/instantiate.js';
import { baseOf } from '../../src/adapters/base.js';
import { Forward } from '../../src/models/forward.js';
import { maxDifference } from '../models/golden.js';
import { active, bench, fresh, logits, merged, norm, randomised } from './support.js';

before(() => useBackend('auto'));

test('ranks by the ratio', () => {
  assert.deepEqual([[768, 768], [768, 3072], [64, 64]].map(([dimIn, dimOut]) => rankOf({ dimIn, dimOut }, 2)), [192, 307, 16]);
});

describe('pela', () => {
  for (const name of ['bert-classify', 'gpt2-clm', 'llama-clm']) {
    test(`on ${name} a new graft is the best model of its ranks, no larger than 1/c, and merged computes the same`, async () => {
      const b = await bench(name);
      const graft = fresh(b, pela);
      const act = active(b, pela, graft, true);
      for (const site of [...act.sites.keys()].slice(0, 4)) {
        const [left, right] = ['left', 'right'].map((w) => act.tensors.get(`${site.name}.pela_${w}`)!);
        const r = left.shape[1]!;
        assert.ok(left.size + right.size <= (site.dimIn * site.dimOut) / 2);
        const W = b.checkpoint.get(site.weight!), own = site.transposed ? tf.transpose(W) : W;
        const { S } = svd(W.dataSync() as Float32Array, W.shape[0], W.shape[1]!);
        const tail = Math.hypot(...S.slice(r));
        assert.ok(Math.abs(norm(tf.sub(tf.matMul(left as never, right as never), own)) - tail) < 1e-4 * (1 + tail), 'Eckart and Young');
      }
      const mine = logits(b, [act]);
      assert.ok(maxDifference(mine, logits(b)) > 1e-3);
      assert.ok(maxDifference(mine, logits(b, [], {}, b.batch, await merged(b, [graft]))) < 1e-4 * Math.max(1, ...mine.map(Math.abs)));
      const random = randomised(graft), changed = logits(b, [active(b, pela, random)]);
      assert.ok(maxDifference(changed, logits(b, [], {}, b.batch, await merged(b, [random]))) < 1e-4 * Math.max(1, ...changed.map(Math.abs)));
      const specs = ownedTensors(pela, act.config, b.model, null, baseOf(b.checkpoint));
      assert.ok(countSpecs(specs) < b.checkpoint.names().reduce((n, t) => n + b.checkpoint.info(t).shape.reduce((x, y) => x * y, 1), 0), 'the graft is the smaller model');
      b.checkpoint.close();
    });
  }

  /** The auxiliary term of a graft on a batch, and its gradients. */
  async function auxiliary(config: Record<string, unknown>) {
    const b = await bench('bert-classify');
    const act = active(b, pela, fresh(b, pela, config), true);
    const value = (): Scalar => tf.tidy(() => {
      const [pass, frozen] = [[act], []].map((grafts) => {
        const f = new Forward(b.model.sites, b.checkpoint, grafts, { taps: true });
        b.model.backbone(f, b.batch);
        return f;
      });
      return pela.auxiliary!({ pass, teacher: () => frozen, mask: b.batch.kind === 'text' ? b.batch.mask : null, sites: act.sites }, act.config as never) as Scalar;
    });
    return { b, act, value };
  }

  test('features: zero for the model itself, and the gradient is the slope', async () => {
    const whole = await auxiliary({ ratio: 1e-9 + 1, distill: 1 });
    const { act, value } = await auxiliary({ distill: 1 });
    assert.ok(value().dataSync()[0] > whole.value().dataSync()[0] && whole.value().dataSync()[0] > 0);
    const [name, v] = [...act.trained].find(([n]) => n.endsWith('query.pela_left'))!;
    const { grads } = tf.variableGrads(value, [v]);
    const direction = tf.div(grads[v.name], tf.norm(grads[v.name])), start = tf.clone(v);
    const at = (t: number): number => {
      v.assign(tf.add(start, tf.mul(direction, t)));
      return value().dataSync()[0];
    };
    const slope = (at(1e-2) - at(-1e-2)) / 2e-2;
    assert.ok(Math.abs(slope - norm(grads[v.name])) < 0.02 * norm(grads[v.name]), `${name}: ${slope}`);
  });

  test('weights: the gradient of the largest difference goes through its row and column alone', async () => {
    const { b, act, value } = await auxiliary({ distill: 0, perturb: 1, tolerance: 0 });
    const vars = [...act.trained].filter(([n]) => /pela_(left|right)$/.test(n));
    const { grads } = tf.variableGrads(value, vars.map(([, v]) => v));
    const sites = [...act.sites.keys()];
    const by = (name: string): Tensor => act.tensors.get(name)!;
    let sum = 0;
    for (const site of sites) {
      const delta = tf.sub(tf.matMul(by(`${site.name}.pela_left`) as never, by(`${site.name}.pela_right`) as never), b.checkpoint.get(site.weight!)).dataSync().map(Math.abs);
      const peak = delta.indexOf(Math.max(...delta)), row = Math.floor(peak / site.dimIn);
      sum += delta[peak] ** 2;
      const rows = tf.norm(grads[act.trained.get(`${site.name}.pela_left`)!.name], 2, 1).dataSync();
      rows.forEach((g, i) => assert.equal(g > 0, i === row, `${site.name} ${i}`));
    }
    assert.ok(Math.abs(value().dataSync()[0] - sum / sites.length) < 1e-5);
  });

  test('a finished graft is trained on without its teacher; a ratio that leaves nothing is refused', async () => {
    const b = await bench('bert-classify');
    const graft = active(b, pela, fresh(b, pela));
    const { config } = pela.finish!(graft.tensors, graft.config as never);
    assert.equal(pela.auxiliary!(null as never, config), null);
    assert.throws(() => fresh(b, pela, { ratio: 1000 }), /--ratio 1000 leaves no rank for/);
    b.checkpoint.close();
  });
});
