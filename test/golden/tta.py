"""Makes test/golden/models/tta.json: what bn-adapt, tent and cotta predict over three batches, in plain PyTorch written from the papers' equations.

Run with torch and safetensors installed:
    python test/golden/tta.py
also writes the network, test/golden/models/resnet-cifar: a random ResNet-8 of He et al. (2016, section 4.2) over 8x8 images, shortcuts of
type A. `python test/golden/tta.py --stream FILE --weights FILE --method NAME` runs a method over an Arrow stream of raw images instead and
prints the error of each domain as graft eval does (needs pyarrow): the reference of fixtures/recipes/tta-cifar.mk.
"""
import argparse, copy, json, math, pathlib, sys, time

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

HERE = pathlib.Path(__file__).parent
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


class Network:
    """The network as a function of its tensors; `batch` normalises with the statistics of the batch, buffers neither read nor moved."""

    def __init__(self, tensors, batch):
        self.t, self.batch = tensors, batch
        self.blocks = 1 + max(int(name.split('.')[1]) for name in tensors if name.startswith('layer1.'))

    def norm(self, x, at):
        mean, var = (None, None) if self.batch else (self.t[f'{at}.running_mean'], self.t[f'{at}.running_var'])
        return F.batch_norm(x, mean, var, self.t[f'{at}.weight'], self.t[f'{at}.bias'], training=self.batch, momentum=0, eps=1e-5)

    def __call__(self, x):
        x = F.relu(self.norm(F.conv2d((x - MEAN) / STD, self.t['conv1.weight'], padding=1), 'bn1'))
        for stage in (1, 2, 3):
            for i in range(self.blocks):
                at, stride = f'layer{stage}.{i}', 2 if stage > 1 and i == 0 else 1
                y = F.relu(self.norm(F.conv2d(x, self.t[f'{at}.conv1.weight'], stride=stride, padding=1), f'{at}.bn1'))
                y = self.norm(F.conv2d(y, self.t[f'{at}.conv2.weight'], padding=1), f'{at}.bn2')
                extra = (y.shape[1] - x.shape[1]) // 2
                x = F.relu(y + (F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, extra, extra)) if stride == 2 else x))
        return F.linear(x.mean((2, 3)), self.t['linear.weight'], self.t['linear.bias'])


def copied(source, trained):
    return {n: t.clone().requires_grad_(trained(n)) for n, t in source.items()}


class Source:
    def __init__(self, source):
        self.network = Network(source, batch=False)

    @torch.no_grad()
    def step(self, x):
        return self.network(x)


class BnAdapt(Source):
    def __init__(self, source):
        self.network = Network(source, batch=True)


class Tent:
    def __init__(self, source, lr=1e-3):
        tensors = copied(source, lambda n: 'bn' in n and 'running' not in n)
        self.network = Network(tensors, batch=True)
        self.optimiser = torch.optim.Adam([t for t in tensors.values() if t.requires_grad], lr=lr, betas=(0.9, 0.999))

    def step(self, x):
        z = self.network(x)
        self.optimiser.zero_grad()
        (-(z.softmax(1) * z.log_softmax(1)).sum(1).mean()).backward()
        self.optimiser.step()
        return z.detach()


def clipped(x):
    return x.clamp(0, 1)


def grey(x):
    return 0.2989 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:]


def hue(x, turns):
    """RGB to HSV, turned, and back."""
    v, low = x.amax(1), x.amin(1)
    chroma = v - low
    r, g, b = x.unbind(1)
    d = torch.where(chroma == 0, torch.ones_like(chroma), chroma)
    h = torch.where(v == r, (g - b) / d, torch.where(v == g, 2 + (b - r) / d, 4 + (r - g) / d)) + 6 * turns
    k = torch.stack([(n + h) % 6 for n in (5, 3, 1)], 1)
    return v[:, None] - chroma[:, None] * torch.minimum(k, 4 - k).clamp(0, 1)


def augment(x):
    """CoTTA's transform (Wang et al., 2022, and its official code), drawn once for the batch: colour jitter in random order, edge padding by
    half, rotation, shift and scale, 5x5 blur, centre crop, mirror, noise."""
    u = lambda low, high: torch.empty(()).uniform_(low, high).item()
    size = x.shape[-1]
    x = clipped(x)
    brightness, contrast, saturation, turns, gamma = u(0.6, 1.4), u(0.7, 1.3), u(0.5, 1.5), u(-0.06, 0.06), u(0.7, 1.3)
    colours = [lambda x: x * brightness, lambda x: contrast * x + (1 - contrast) * grey(x).mean((1, 2, 3), keepdim=True),
               lambda x: saturation * x + (1 - saturation) * grey(x), lambda x: hue(x, turns), lambda x: x.clamp(min=1e-8) ** gamma]
    for i in torch.randperm(5).tolist():
        x = clipped(colours[i](x))
    x = F.pad(x, [size // 2] * 4, mode='replicate')
    angle, scale = math.radians(u(-15, 15)), u(0.9, 1.1)
    dx, dy = (round(u(-1, 1) * x.shape[-1] / 16) for _ in 'xy')
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    # In coordinates from -1 to 1, output to input: the shift is undone first.
    sx, sy = 2 * dx / x.shape[-1], 2 * dy / x.shape[-1]
    matrix = torch.tensor([[cos, sin, -cos * sx - sin * sy], [-sin, cos, sin * sx - cos * sy]])
    x = F.grid_sample(x, F.affine_grid(matrix.expand(len(x), 2, 3), x.shape, align_corners=False), align_corners=False)
    taps = torch.exp(-torch.arange(-2.0, 3) ** 2 / (2 * u(0.001, 0.5) ** 2))
    taps = (taps / taps.sum()).expand(3, 1, 1, 5)
    x = F.conv2d(F.conv2d(x, taps, padding=(0, 2), groups=3), taps.transpose(2, 3), padding=(2, 0), groups=3)
    x = x[:, :, size // 2:-(size // 2), size // 2:-(size // 2)]
    if u(0, 1) < 0.5:
        x = x.flip(3)
    return clipped(x + 0.005 * torch.randn_like(x))


class Cotta:
    """`restore` by PyTorch's generator. The student starts at `start` times the source: where it equals the teacher the gradient is rounding
    noise, which Adam scales to whole steps, and no two programs agree."""

    def __init__(self, source, lr=1e-3, alpha=0.999, restore=0.01, p_th=0.92, n_aug=32, start=1):
        self.source, self.alpha, self.restore, self.p_th, self.n_aug = source, alpha, restore, p_th, n_aug
        self.anchor = Network(source, batch=True)
        self.student, self.teacher = copied(source, lambda n: 'running' not in n), copy.deepcopy(source)
        self.trained = [n for n, t in self.student.items() if t.requires_grad]
        with torch.no_grad():
            for n in self.trained:
                self.student[n].mul_(start)
        self.optimiser = torch.optim.Adam([self.student[n] for n in self.trained], lr=lr, betas=(0.9, 0.999))

    @torch.no_grad()
    def target(self, x):
        teacher = Network(self.teacher, batch=True)
        if self.p_th == 0 or self.anchor(x).softmax(1).amax(1).mean() >= self.p_th:
            return teacher(x)
        return sum(teacher(augment(x)) for _ in range(self.n_aug)) / self.n_aug

    def step(self, x):
        target = self.target(x)
        z = Network(self.student, batch=True)(x)
        self.optimiser.zero_grad()
        (-(target.softmax(1) * z.log_softmax(1)).sum(1).mean()).backward()
        self.optimiser.step()
        with torch.no_grad():
            for n in self.trained:
                self.teacher[n].mul_(self.alpha).add_(self.student[n], alpha=1 - self.alpha)
            for n in self.trained if self.restore > 0 else ():
                theta = self.student[n]
                theta.copy_(torch.where(torch.rand(theta.shape) < self.restore, self.source[n], theta))
        return target


METHODS = {'source': Source, 'bn-adapt': BnAdapt, 'tent': Tent, 'cotta': Cotta}


def random_network(seed, classes=4):
    g = torch.Generator().manual_seed(seed)
    noise = lambda *shape: torch.randn(*shape, generator=g)
    tensors = {}

    def conv(at, i, o):
        tensors[f'{at}.weight'] = noise(o, i, 3, 3) / (9 * i) ** 0.5

    def norm(at, n):
        tensors.update({f'{at}.weight': 1 + 0.2 * noise(n), f'{at}.bias': 0.2 * noise(n), f'{at}.running_mean': 0.2 * noise(n), f'{at}.running_var': 0.5 + noise(n).abs()})

    conv('conv1', 3, 16), norm('bn1', 16)
    for stage, (i, o) in enumerate([(16, 16), (16, 32), (32, 64)], 1):
        for k, n in ((1, i), (2, o)):
            conv(f'layer{stage}.0.conv{k}', n, o), norm(f'layer{stage}.0.bn{k}', o)
    tensors.update({'linear.weight': 0.3 * noise(classes, 64), 'linear.bias': 0.1 * noise(classes)})
    return {n: t.half().float() for n, t in tensors.items()}  # stored in half the bytes


def camel(name):
    first, *rest = name.split('_')
    return first + ''.join(word.title() for word in rest)


def golden():
    tensors = random_network(7)
    folder = HERE / 'models/resnet-cifar'
    folder.mkdir(exist_ok=True)
    save_file({n: t.half().contiguous() for n, t in tensors.items()}, folder / 'model.safetensors', {'format': 'pt'})
    labels = {str(i): c for i, c in enumerate('abcd')}
    (folder / 'config.json').write_text(json.dumps({'model_type': 'resnet-cifar', 'depth': 8, 'size': 8, 'id2label': labels}, indent=2) + '\n')
    images = torch.randint(0, 256, (3, 6, 8, 8, 3), generator=torch.Generator().manual_seed(8))
    options = {'bn-adapt': {}, 'tent': {'lr': 0.01}, 'cotta': {'lr': 0.01, 'alpha': 0.9, 'restore': 0, 'p_th': 0, 'start': 1.25}}
    logits = {}
    for name, given in options.items():
        method = METHODS[name](tensors, **given)
        logits[name] = [[float(f'{v:.7g}') for v in method.step(batch.permute(0, 3, 1, 2) / 255).flatten().tolist()] for batch in images]
    (HERE / 'models/tta.json').write_text(json.dumps({'images': [batch.flatten().tolist() for batch in images], 'options': {n: {camel(k): v for k, v in o.items()} for n, o in options.items()}, 'logits': logits}) + '\n')


def stream(path, weights, name, reset):
    import pyarrow

    source, wrong, method, last, clock, steps = load_file(weights), {}, None, None, 0, 0
    rows = pyarrow.ipc.open_stream(path).read_all()
    shape = [int(n) for n in rows.schema.field('image').metadata[b'shape'].split(b',')]
    for at in range(0, rows.num_rows, 200):
        part = rows.slice(at, 200).to_pydict()
        domain = part['domain'][0]
        if method is None or (reset and domain != last):
            torch.manual_seed(0)
            method = METHODS[name](source)
        last = domain
        x = torch.stack([torch.frombuffer(bytearray(b), dtype=torch.uint8) for b in part['image']]).view(-1, *shape).permute(0, 3, 1, 2) / 255
        began = time.perf_counter()
        predicted = method.step(x).argmax(1)
        clock, steps = clock + time.perf_counter() - began, steps + 1
        wrong.setdefault(domain, []).extend((predicted != torch.tensor(part['label'])).tolist())
    print(f'{clock / steps:.3f} s a batch', file=sys.stderr)
    errors = {domain: sum(w) / len(w) for domain, w in wrong.items()}
    for group, value in [*errors.items(), ('mean', sum(errors.values()) / len(errors))]:
        print(json.dumps({'metric': 'error', 'value': value, 'group': group}))


if __name__ == '__main__':
    parser = argparse.ArgumentParser()
    for option in ('stream', 'weights', 'method'):
        parser.add_argument(f'--{option}')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--reset', action='store_true', help='start afresh at each domain')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    stream(args.stream, args.weights, args.method, args.reset) if args.stream else golden()
