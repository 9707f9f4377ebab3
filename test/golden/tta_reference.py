"""Test-time methods in PyTorch (test/golden/tta.py) on a real network and real images, with the numbers that graft draws at random, and in double
precision: where an activation is nearly 0, rounding decides whether a ReLU passes it on, and Adam makes whole steps of gradients near 0.

    graft data ... -o stream.arrow; graft data ... -o source.arrow        as test/tta/reference.test.ts and fixtures/recipes/tta-reference.mk do
    python test/golden/tta_reference.py --stream stream.arrow --source source.arrow --weights resnet20-12fca82f.safetensors --batch-size 64
makes test/golden/models/tta-reference.json: logits of every method. With `--method NAME --set key=value ...` it prints the error of each
domain instead, as graft eval does; with `--predictions FILE` of graft's too, how far the logits of the first batch are from those. With `--prepared FILE`
of graft's the method starts from what graft learnt beforehand: training in double precision takes other steps where gradients are near 0, which would hide
whether the methods agree. Needs torch, safetensors, pyarrow.
"""
import argparse, json, math, sys, time

import numpy as np
import pyarrow
import torch
from safetensors.torch import load_file

import tta
from tta import HERE, augmented, camel

MASK = 0xffffffff


def mixed(h, up, factor, down, factor2, last):
    h = ((h ^ (h >> up)) * factor) & MASK
    h = ((h ^ (h >> down)) * factor2) & MASK
    return h ^ (h >> last)


class Rng:
    """xoshiro128** (Blackman and Vigna), seeded from texts and numbers through splitmix32, as graft's generator is."""

    def __init__(self, *seed):
        h = 0x9e3779b9
        for byte in b''.join(str(part).encode() + b'\0' for part in seed):
            h = (((h ^ byte) * 0x01000193) & MASK) ^ (h >> 15)
        self.s = []
        for _ in range(4):
            h = (h + 0x9e3779b9) & MASK
            self.s.append(mixed(h, 16, 0x21f0aaad, 15, 0x735a2d97, 15))

    def uint32(self):
        a, b, c, d = self.s
        r = (b * 5) & MASK
        r = (((r << 7) | (r >> 25)) * 9) & MASK
        c ^= a
        d ^= b
        self.s = [a ^ d, b ^ c, c ^ ((b << 9) & MASK), ((d << 11) | (d >> 21)) & MASK]
        return r

    def uniform(self, low=0.0, high=1.0):
        a, b = self.uint32() >> 5, self.uint32() >> 6
        return low + (high - low) * (a * 67108864 + b) / 9007199254740992

    def shuffled(self, items):
        for i in range(len(items) - 1, 0, -1):
            j = int(self.uniform() * (i + 1))
            items[i], items[j] = items[j], items[i]
        return items


def noise(shape, std, keys):
    """Normal deviates over images [B, 3, H, W], a function of two keys and the place: elements p and p + half of an image share a radius."""
    B, C, H, W = shape
    half = C * H * W // 2
    with np.errstate(over='ignore'):
        place = np.arange(B * half, dtype=np.uint32) ^ np.uint32(keys[0])
        hashed = lambda h: mixed(h, np.uint32(16), np.uint32(0x21f0aaad), np.uint32(15), np.uint32(0x735a2d97), np.uint32(15))
        h = hashed(hashed(place) + np.uint32(keys[1]))
        k = hashed(h + np.uint32(keys[0]))
    radius = std * np.sqrt(-2 * np.log(((h >> np.uint32(8)) + 1) / 2 ** 24))
    angle = ((k >> np.uint32(8)) / 2 ** 23 - 1) * math.pi / 4
    sine, cosine = np.sin(angle), np.cos(angle) * np.where(k & 2, -1, 1)
    first, second = radius * np.where(k & 1, sine, cosine), radius * np.where(k & 1, cosine, sine)
    z = np.concatenate([first.reshape(B, half), second.reshape(B, half)], 1).reshape(B, H, W, C)
    return torch.from_numpy(z).permute(0, 3, 1, 2)


class Drawn:
    """What graft draws under a seed of 0."""

    def __init__(self):
        self.rngs = {}

    def rng(self, name, *key):
        at = (name, 0, *key)
        return self.rngs.setdefault(at, Rng(*at))

    def augment(self, x, *key):
        r = self.rng(*key)
        names = {'brightness': (0.6, 1.4), 'contrast': (0.7, 1.3), 'saturation': (0.5, 1.5), 'hue': (-0.06, 0.06), 'gamma': (0.7, 1.3)}
        colours = r.shuffled([(name, r.uniform(*bounds)) for name, bounds in names.items()])
        angle = math.radians(r.uniform(-15, 15))
        dx, dy = (math.floor(r.uniform(-1, 1) * side / 8 + 0.5) for side in (x.shape[3], x.shape[2]))
        scale, sigma, flip, keys = r.uniform(0.9, 1.1), r.uniform(0.001, 0.5), r.uniform() < 0.5, (r.uint32(), r.uint32())
        return augmented(x, colours, angle, scale, dx, dy, sigma, flip, noise(x.shape, 0.005, keys))

    def restored(self, p, shape, *key):
        r = self.rng(*key)
        return torch.tensor([r.uniform() < p for _ in range(math.prod(shape))]).view(shape)

    def order(self, n, *key):
        return torch.tensor(self.rng(*key).shuffled(list(range(n))))

    def initial(self, shapes):
        r, fan_in = self.rng('projector'), [shapes[0][1], shapes[0][1], shapes[2][1], shapes[2][1]]
        return [torch.tensor([r.uniform(-1, 1) / math.sqrt(n) for _ in range(math.prod(shape))]).view(shape) for shape, n in zip(shapes, fan_in)]


DRAWS = {'cotta', 'petal', 'rmt', 'rotta'}
# Of the golden values, so that everything a method has happens within three batches of 64. A name may say more after its method's.
CASES = {
    'tent': {}, 'cotta': {'n_aug': 4, 'alpha': 0.9, 'restore': 0.3}, 'petal without source images': {'n_aug': 4, 'alpha': 0.9}, 'petal': {'n_aug': 4, 'alpha': 0.9, 'lambda_': 1e-6},
    'rmt without warm-up': {'warm_up': 0, 'alpha': 0.9}, 'rmt': {'warm_up': 256, 'alpha': 0.9}, 'eata': {'margin': 0.6, 'similarity': 0.6, 'lambda_': 20},
    'sar': {'lr': 0.01, 'margin': 0.6}, 'rotta': {'memory': 32, 'every': 32, 'teacher': 0.05}, 'lame': {}, 'lame with rbf': {'affinity': 'rbf'}, 'adanpc': {'neighbours': 20, 'confidence': 0.9},
}


def images(path, size):
    """Batches of pixels [B, 3, H, W] in [0, 1], labels and the domain of each row, if any."""
    rows = pyarrow.ipc.open_stream(path).read_all()
    shape = [int(n) for n in rows.schema.field('image').metadata[b'shape'].split(b',')]
    for at in range(0, rows.num_rows, size):
        part = rows.slice(at, size).to_pydict()
        x = torch.stack([torch.frombuffer(bytearray(b), dtype=torch.uint8) for b in part['image']]).view(-1, *shape).permute(0, 3, 1, 2).double() / 255
        yield x, torch.tensor(part['label']), part.get('domain')


def started(name, source, clean, options):
    name, *more = name.split(' ')
    clean = () if more == 'without source images'.split() else clean
    return tta.METHODS[name](source, **options, **({'clean': clean} if name in tta.FROM_SOURCE else {}), **({'chance': Drawn()} if name in DRAWS else {}))


def resumed(name, source, clean, options, path):
    """The method with what graft's --prepared file holds in place of what it would learn itself."""
    kept = {n: t.double() if t.is_floating_point() else t for n, t in load_file(path).items()}
    part = lambda prefix: {n[len(prefix):]: t for n, t in kept.items() if n.startswith(prefix)}
    if name == 'petal':
        method = started(name, {**source, **part('mean.')}, (), options)
        method.variance = part('variance.')
        return method
    if name != 'rmt' or 'steps' not in kept:
        return started(name, source, clean, options)
    method = started(name, source, clean, {**options, 'warm_up': 0})
    method.steps, places = int(kept['steps']), ('projector.0.weight', 'projector.0.bias', 'projector.2.weight', 'projector.2.bias')
    trained = {**{n: method.student[n] for n in method.trained}, **dict(zip(places, method.projector))}
    with torch.no_grad():
        for n, t in part('student.').items():
            trained[n].copy_(t)
        for n, t in part('teacher.').items():
            method.teacher[n].copy_(t)
    first, second = part('adam.m.'), part('adam.v.')
    for n, t in trained.items():
        method.optimiser.state[t] = {'step': kept['adam.steps'].double(), 'exp_avg': first[n].clone(), 'exp_avg_sq': second[n].clone()}
    return method


def errors(method, batches, predictions):
    wrong, clock, first = {}, time.perf_counter(), None
    for x, y, domains in batches:
        z = method.step(x)
        first = z if first is None else first
        for domain, off in zip(domains, (z.argmax(1) != y).tolist()):
            wrong.setdefault(domain, []).append(off)
    print(f'{time.perf_counter() - clock:.1f} s', file=sys.stderr)
    if predictions:
        rows = pyarrow.ipc.open_stream(predictions).read_all().slice(0, len(first)).to_pydict()['logits']
        print(json.dumps({'metric': 'first-batch', 'value': (torch.tensor(rows) - first).abs().max().item()}))
    found = {domain: sum(w) / len(w) for domain, w in wrong.items()}
    for group, value in [*found.items(), ('mean', sum(found.values()) / len(found))]:
        print(json.dumps({'metric': 'error', 'value': value, 'group': group}))


def golden(source, clean, batches):
    cases = {}
    for name, options in CASES.items():
        method = started(name, source, clean, options)
        z = [method.step(x) for x, _, _ in batches]
        # All of the first batch, sixteen rows of the others.
        cases[name] = {'options': {camel(k): v for k, v in options.items()}, 'logits': [[round(v, 4) for v in (t if i == 0 else t[:16]).flatten().tolist()] for i, t in enumerate(z)]}
    (HERE / 'models/tta-reference.json').write_text(json.dumps({'sums': [int((x * 255).round().sum()) for x, *_ in [*batches, *clean]], 'cases': cases}) + '\n')


if __name__ == '__main__':
    parser = argparse.ArgumentParser()
    for option in ('stream', 'source', 'weights', 'method', 'predictions', 'prepared'):
        parser.add_argument(f'--{option}')
    parser.add_argument('--batch-size', type=int, default=200)
    parser.add_argument('--set', nargs='*', default=[])
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    tta.MEAN, tta.STD = tta.MEAN.double(), tta.STD.double()
    source = {n: t.double() for n, t in load_file(args.weights).items()}
    clean, batches = ([*images(path, args.batch_size)] for path in (args.source, args.stream))
    clean = [(x, y) for x, y, _ in clean]
    if args.method:
        options = {k: json.loads(v) for k, v in (pair.split('=') for pair in args.set)}
        errors(resumed(args.method, source, clean, options, args.prepared) if args.prepared else started(args.method, source, clean, options), batches, args.predictions)
    else:
        golden(source, clean, batches)
