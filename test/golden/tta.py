"""Makes test/golden/models/tta.json: what methods predict over three batches, in plain PyTorch written from the papers' equations.

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
    """The network as a function of its tensors; `batch` normalises with the statistics of the batch, buffers neither read nor moved; `move`
    first moves the buffers by that share towards those of the batch and normalises with them, gradients through the batch's (RoTTA's)."""

    def __init__(self, tensors, batch, move=0):
        self.t, self.batch, self.move = tensors, batch, move
        self.blocks = 1 + max(int(name.split('.')[1]) for name in tensors if name.startswith('layer1.'))

    def norm(self, x, at):
        if self.move:
            var, mean = torch.var_mean(x, (0, 2, 3), unbiased=False)
            mean = (1 - self.move) * self.t[f'{at}.running_mean'] + self.move * mean
            var = (1 - self.move) * self.t[f'{at}.running_var'] + self.move * var
            self.t[f'{at}.running_mean'], self.t[f'{at}.running_var'] = mean.detach(), var.detach()
            shape = (1, -1, 1, 1)
            return (x - mean.view(shape)) / (var.view(shape) + 1e-5).sqrt() * self.t[f'{at}.weight'].view(shape) + self.t[f'{at}.bias'].view(shape)
        mean, var = (None, None) if self.batch else (self.t[f'{at}.running_mean'], self.t[f'{at}.running_var'])
        return F.batch_norm(x, mean, var, self.t[f'{at}.weight'], self.t[f'{at}.bias'], training=self.batch, momentum=0, eps=1e-5)

    def __call__(self, x):
        return F.linear(self.features(x), self.t['linear.weight'], self.t['linear.bias'])

    def features(self, x):
        x = F.relu(self.norm(F.conv2d((x - MEAN) / STD, self.t['conv1.weight'], padding=1), 'bn1'))
        for stage in (1, 2, 3):
            for i in range(self.blocks):
                at, stride = f'layer{stage}.{i}', 2 if stage > 1 and i == 0 else 1
                y = F.relu(self.norm(F.conv2d(x, self.t[f'{at}.conv1.weight'], stride=stride, padding=1), f'{at}.bn1'))
                y = self.norm(F.conv2d(y, self.t[f'{at}.conv2.weight'], padding=1), f'{at}.bn2')
                extra = (y.shape[1] - x.shape[1]) // 2
                x = F.relu(y + (F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, extra, extra)) if stride == 2 else x))
        return x.mean((2, 3))


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


def affine(name):
    return 'bn' in name and 'running' not in name


def cross(target, z):
    return -(target * z.log_softmax(1)).sum(1)


def entropy(z):
    return -(z.softmax(1) * z.log_softmax(1)).sum(1)


class Tent:
    def __init__(self, source, lr=1e-3):
        tensors = copied(source, affine)
        self.network = Network(tensors, batch=True)
        self.optimiser = torch.optim.Adam([t for t in tensors.values() if t.requires_grad], lr=lr, betas=(0.9, 0.999))

    def step(self, x):
        z = self.network(x)
        self.optimiser.zero_grad()
        entropy(z).mean().backward()
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


def augmented(x, colours, angle, scale, dx, dy, sigma, flip, noise):
    """CoTTA's transform (Wang et al., 2022, and its official code), the same for the whole batch but for the noise: changes of colour in their
    order, edge padding by half, rotation (radians), shift (pixels) and scale, 5x5 blur, centre crop, mirror, noise."""
    size = x.shape[-1]
    x = clipped(x)
    change = {'brightness': lambda x, v: x * v, 'contrast': lambda x, v: v * x + (1 - v) * grey(x).mean((1, 2, 3), keepdim=True),
              'saturation': lambda x, v: v * x + (1 - v) * grey(x), 'hue': hue, 'gamma': lambda x, v: x.clamp(min=1e-8) ** v}
    for name, strength in colours:
        x = clipped(change[name](x, strength))
    x = F.pad(x, [size // 2] * 4, mode='replicate')
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    # In coordinates from -1 to 1, output to input: the shift is undone first.
    sx, sy = 2 * dx / x.shape[-1], 2 * dy / x.shape[-1]
    matrix = torch.tensor([[cos, sin, -cos * sx - sin * sy], [-sin, cos, sin * sx - cos * sy]])
    x = F.grid_sample(x, F.affine_grid(matrix.expand(len(x), 2, 3), x.shape, align_corners=False), align_corners=False)
    taps = torch.exp(-torch.arange(-2.0, 3) ** 2 / (2 * sigma ** 2))
    taps = (taps / taps.sum()).expand(3, 1, 1, 5)
    x = F.conv2d(F.conv2d(x, taps, padding=(0, 2), groups=3), taps.transpose(2, 3), padding=(2, 0), groups=3)
    x = x[:, :, size // 2:-(size // 2), size // 2:-(size // 2)]
    if flip:
        x = x.flip(3)
    return clipped(x + noise)


class Chance:
    """What methods draw at random, by PyTorch's generator. What they draw for, the arguments after the first say."""

    def augment(self, x, *_):
        u = lambda low, high: torch.empty(()).uniform_(low, high).item()
        strengths = [('brightness', u(0.6, 1.4)), ('contrast', u(0.7, 1.3)), ('saturation', u(0.5, 1.5)), ('hue', u(-0.06, 0.06)), ('gamma', u(0.7, 1.3))]
        colours = [strengths[i] for i in torch.randperm(5).tolist()]
        angle, scale = math.radians(u(-15, 15)), u(0.9, 1.1)
        # The padded image is twice as large; shifts reach 1/16 of it.
        dx, dy = (round(u(-1, 1) * x.shape[-1] / 8) for _ in 'xy')
        return augmented(x, colours, angle, scale, dx, dy, u(0.001, 0.5), u(0, 1) < 0.5, 0.005 * torch.randn_like(x))

    def restored(self, p, shape, *_):
        return torch.rand(shape) < p

    def order(self, n, *_):
        """Of the numbers below n."""
        return torch.randperm(n)

    def initial(self, shapes):
        """What the layers of a projector start from, here what any program can make again."""
        return [sines(*shape) for shape in shapes]


def sines(*shape):
    """Values in the range of PyTorch's initial ones."""
    return (torch.arange(math.prod(shape)) + 1.0).sin().view(shape) / shape[-1] ** 0.5


CHANCE = Chance()


class Cotta:
    """The student starts at `start` times the source: where it equals the teacher the gradient is rounding
    noise, which Adam scales to whole steps, and no two programs agree."""

    def __init__(self, source, lr=1e-3, alpha=0.999, restore=0.01, p_th=0.92, n_aug=32, start=1, chance=CHANCE):
        self.chance, self.steps = chance, 0
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
        return sum(teacher(self.chance.augment(x, 'cotta', self.steps, i)) for i in range(self.n_aug)) / self.n_aug

    def loss(self, target, z):
        return cross(target.softmax(1), z).mean()

    @torch.no_grad()
    def back(self):
        for n in self.trained if self.restore > 0 else ():
            theta = self.student[n]
            theta.copy_(torch.where(self.chance.restored(self.restore, theta.shape, 'restore', self.steps, n), self.source[n], theta))

    def step(self, x):
        target = self.target(x)
        z = Network(self.student, batch=True)(x)
        self.optimiser.zero_grad()
        self.loss(target, z).backward()
        self.optimiser.step()
        with torch.no_grad():
            for n in self.trained:
                self.teacher[n].mul_(self.alpha).add_(self.student[n], alpha=1 - self.alpha)
        self.back()
        self.steps += 1
        return target


class Petal(Cotta):
    """Mean and variance of the weights by SWAG over labelled batches; without any, the source's weights and no prior."""

    def __init__(self, source, lambda_=1e-9, delta=0.03, swag_epochs=5, swag_lr=0.01, clean=(), chance=CHANCE, **cotta):
        self.lambda_, self.delta, self.variance = lambda_, delta, {}
        super().__init__(self.swag(source, clean, swag_epochs, swag_lr, chance) if clean else source, chance=chance, **cotta)

    def swag(self, source, clean, swag_epochs, swag_lr, chance):
        tensors = copied(source, lambda n: 'running' not in n)
        trained = {n: t for n, t in tensors.items() if t.requires_grad}
        optimiser, snapshots = torch.optim.SGD(trained.values(), lr=8e-4, momentum=0.9, weight_decay=5e-4), []
        schedule = torch.optim.swa_utils.SWALR(optimiser, anneal_strategy='linear', anneal_epochs=3, swa_lr=swag_lr)
        x, y = (torch.cat(part) for part in zip(*clean))
        for epoch in range(swag_epochs):
            for rows in chance.order(len(x), 'swag', epoch).split(len(clean[0][0])):
                optimiser.zero_grad()
                F.cross_entropy(Network(tensors, batch=True)(x[rows]), y[rows]).backward()
                optimiser.step()
            if epoch > 0:
                schedule.step()
            snapshots.append({n: t.detach().double().clone() for n, t in trained.items()})
        several = {n: torch.stack([s[n] for s in snapshots[1:]]) for n in trained}
        self.variance = {n: t.var(0, unbiased=False).to(source[n].dtype) for n, t in several.items()}
        return {**source, **{n: t.mean(0).to(source[n].dtype) for n, t in several.items()}}

    def loss(self, target, z):
        prior = sum(((self.student[n] - self.source[n]) ** 2 / (self.variance[n] + 1e-6)).sum() for n in self.variance) / 2
        return super().loss(target, z) + self.lambda_ * prior

    @torch.no_grad()
    def back(self):
        fisher = {n: self.student[n].grad ** 2 for n in self.trained}
        gamma = torch.quantile(torch.cat([f.flatten() for f in fisher.values()]), self.delta)
        for n, f in fisher.items():
            self.student[n].copy_(torch.where(f < gamma, self.source[n], self.student[n]))


class Eata:
    def __init__(self, source, lr=1e-3, margin=0.4, similarity=0.4, lambda_=1, clean=()):
        self.source, self.similarity, self.lambda_, self.m = source, similarity, lambda_, None
        self.e0 = margin * math.log(len(source['linear.bias']))
        self.tensors = copied(source, affine)
        self.trained = {n: t for n, t in self.tensors.items() if t.requires_grad}
        self.network, self.fisher = Network(self.tensors, batch=True), {}
        for x, _ in clean:
            z = self.network(x)
            grads = torch.autograd.grad(F.cross_entropy(z, z.argmax(1)), list(self.trained.values()))
            self.fisher = {n: self.fisher.get(n, 0) + g ** 2 / len(clean) for n, g in zip(self.trained, grads)}
        self.optimiser = torch.optim.Adam(list(self.trained.values()), lr=lr, betas=(0.9, 0.999))

    def step(self, x):
        z = self.network(x)
        h = entropy(z)
        keep = h.detach() < self.e0
        if self.m is not None:
            keep &= F.cosine_similarity(self.m[None], z.detach().softmax(1)).abs() < self.similarity
        if keep.any():
            mean = z.detach()[keep].softmax(1).mean(0)
            self.m = mean if self.m is None else 0.9 * self.m + 0.1 * mean
            loss = (h[keep] * (self.e0 - h[keep].detach()).exp()).mean()
            for n, f in self.fisher.items():
                loss = loss + self.lambda_ * (f * (self.trained[n] - self.source[n]) ** 2).sum()
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
        return z.detach()


class Ostta(Tent):
    def __init__(self, source, lambda_max=0.5, **tent):
        super().__init__(source, **tent)
        self.original, self.lambda_max = Network(source, batch=True), lambda_max

    def step(self, x):
        z, p_o = self.network(x), self.original(x).softmax(1)
        p = z.softmax(1)
        c = p_o.argmax(1, keepdim=True)
        keep = (p.gather(1, c) >= p_o.gather(1, c))[:, 0]
        loss = -self.lambda_max * entropy(p.mean(0, keepdim=True).log()).squeeze()
        if keep.any():
            loss = loss + entropy(z)[keep].mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return z.detach()


def symmetric(a, b):
    return cross(b.softmax(1), a) / 2 + cross(a.softmax(1), b) / 2


class Rmt:
    def __init__(self, source, clean, lr=1e-3, alpha=0.999, temperature=0.1, lambda_src=1, warm_up=50000, augment=True, projection=128, chance=CHANCE):
        self.alpha, self.temperature, self.lambda_src, self.augment, self.chance = alpha, temperature, lambda_src, augment, chance
        f = torch.cat([Network(source, batch=True).features(x) for x, _ in clean])
        self.x, self.y = [torch.cat(part) for part in zip(*clean)]
        self.prototypes = torch.stack([f[self.y == k].mean(0) for k in range(len(source['linear.bias']))])
        self.student, self.teacher = copied(source, lambda n: 'running' not in n), copy.deepcopy(source)
        self.trained = [n for n, t in self.student.items() if t.requires_grad]
        shapes = [(projection, f.shape[1]), (projection,), (projection, projection), (projection,)]
        self.projector = [t.requires_grad_() for t in chance.initial(shapes)]
        self.optimiser = torch.optim.Adam([self.student[n] for n in self.trained] + self.projector, lr=lr, betas=(0.9, 0.999))
        self.steps, size, order = 0, len(clean[0][0]), torch.zeros(0, dtype=torch.long)
        for step in range(1, warm_up // size + 1):
            if len(order) < size:
                order = chance.order(len(self.x), 'warm-up')
            x, order = self.x[order[:size]], order[size:]
            self.optimiser.param_groups[0]['lr'] = lr * step / (warm_up // size)
            self.learn(symmetric(Network(self.student, batch=True)(x), self.taught(x)).mean())
        self.optimiser.param_groups[0]['lr'] = lr

    @torch.no_grad()
    def taught(self, x):
        return Network(self.teacher, batch=True)(x)

    def learn(self, loss):
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        with torch.no_grad():
            for n in self.trained:
                self.teacher[n].mul_(self.alpha).add_(self.student[n], alpha=1 - self.alpha)
        self.steps += 1

    def project(self, f):
        w0, b0, w2, b2 = self.projector
        return F.normalize(F.linear(F.relu(F.linear(f, w0, b0)), w2, b2))

    def contrastive(self, views):
        v, B = torch.cat(views), len(views[0])
        loss = 0
        for a in range(len(v)):
            s = v @ v[a] / self.temperature
            log_sum = torch.logsumexp(torch.cat([s[:a], s[a + 1:]]), 0)
            positives = [p for p in range(a % B, len(v), B) if p != a]
            loss = loss - (s[positives] - log_sum).mean()
        return loss / len(v)

    def step(self, x):
        theirs, student = self.taught(x), Network(self.student, batch=True)
        f = student.features(x)
        other = student.features(self.chance.augment(x, 'rmt', self.steps)) if self.augment else f
        z, z_a = (F.linear(h, self.student['linear.weight'], self.student['linear.bias']) for h in (f, other))
        near = self.prototypes[(F.normalize(f.detach()) @ F.normalize(self.prototypes).T).argmax(1)]
        loss = (symmetric(z, theirs) / 2 + symmetric(z_a, theirs) / 2).mean() + self.contrastive([self.project(v) for v in (near, f, other)])
        if self.lambda_src > 0:
            rows = self.chance.order(len(self.x), 'replay', self.steps)[:len(x)]
            loss = loss + self.lambda_src * F.cross_entropy(student(self.x[rows]), self.y[rows])
        self.learn(loss)
        return z.detach() + theirs


class Adanpc(Source):
    @torch.no_grad()
    def __init__(self, source, clean, neighbours=100, temperature=0.1, confidence=0.1):
        super().__init__(source)
        self.k, self.tau, self.beta, self.classes = neighbours, temperature, confidence, len(source['linear.bias'])
        self.keys, self.labels = F.normalize(torch.cat([self.network.features(x) for x, _ in clean])), torch.cat([y for _, y in clean])

    @torch.no_grad()
    def step(self, x):
        f = F.normalize(self.network.features(x))
        s, i = (f @ self.keys.T).topk(self.k)
        p = torch.zeros(len(x), self.classes).scatter_add_(1, self.labels[i], (s / self.tau).softmax(1))
        p = (p + 1e-5).clamp(max=1)
        sure = p.amax(1) >= self.beta
        self.keys, self.labels = torch.cat([self.keys, f[sure]]), torch.cat([self.labels, p.argmax(1)[sure]])
        return p.log()


class LabelShift(Tent):
    """Tent inside the label shift adapter, whose hypernetwork is made of sines, for a source of these class frequencies."""

    def __init__(self, source, prior, width=100, **tent):
        super().__init__(source, **tent)
        self.of, C, d = torch.tensor(prior), len(prior), source['linear.weight'].shape[1]
        self.layers = [sines(width, 1), sines(width), sines((C + 2) * d + C, width), torch.zeros((C + 2) * d + C)]
        self.prior, plain = torch.full((C,), 1 / C), self.network

        def corrected(x):
            w0, b0, w2, b2 = self.layers
            about = self.of - 1 / C
            m = ((self.prior - 1 / C) * about).sum() / (about ** 2).sum()
            gamma, beta, dw, db = F.linear(F.relu(F.linear(m.view(1), w0, b0)), w2, b2).split([d, d, C * d, C])
            h = (1 + gamma) * plain.features(x) + beta
            return F.linear(h, source['linear.weight'] + dw.view(C, d), source['linear.bias'] + db)
        self.network = corrected

    def step(self, x):
        z = super().step(x)
        prior = (0.9 * self.prior + 0.1 * z.softmax(1).mean(0)).clamp(min=1e-4)
        self.prior = prior / prior.sum()
        return z


class Sar:
    def __init__(self, source, lr=2.5e-4, margin=0.4, rho=0.05):
        self.tensors = copied(source, lambda n: affine(n) and not n.startswith('layer3'))
        self.trained = [t for t in self.tensors.values() if t.requires_grad]
        self.network, self.rho, self.e0 = Network(self.tensors, batch=True), rho, margin * math.log(len(source['linear.bias']))
        self.optimiser = torch.optim.SGD(self.trained, lr=lr, momentum=0.9)

    def step(self, x):
        z = self.network(x)
        h = entropy(z)
        keep = h < self.e0
        if keep.any():
            grads = torch.autograd.grad(h[keep].mean(), self.trained)
            norm = torch.stack([g.norm() for g in grads]).norm()
            moves = [self.rho * g / norm for g in grads]
            with torch.no_grad():
                for t, move in zip(self.trained, moves):
                    t.add_(move)
            second = entropy(self.network(x))[keep]
            self.optimiser.zero_grad()
            second[second < self.e0].mean().backward()
            with torch.no_grad():
                for t, move in zip(self.trained, moves):
                    t.sub_(move)
            self.optimiser.step()
        return z.detach()


class Lame(Source):
    def __init__(self, source, neighbours=5, affinity='knn'):
        super().__init__(source)
        self.neighbours, self.affinity = neighbours, affinity

    @torch.no_grad()
    def step(self, x):
        f = F.normalize(self.network.features(x))
        apart = torch.cdist(f, f)
        if self.affinity == 'knn':
            w = torch.zeros(len(f), len(f)).scatter_(1, apart.topk(self.neighbours + 1, largest=False).indices[:, 1:], 1)
        else:
            sigma = apart.topk(self.neighbours, largest=False).values[:, -1].mean()
            w = (-apart ** 2 / (2 * sigma ** 2)).exp()
        unary = -(self.network(x).softmax(1) + 1e-10).log()
        y, last = (-unary).softmax(1), math.inf
        for iteration in range(100):
            pairwise = w @ y
            y = (pairwise - unary).softmax(1)
            energy = (unary * y - pairwise * y + y * y.clamp(min=1e-20).log()).sum().item()
            if iteration > 1 and abs(energy - last) <= 1e-8 * abs(last):
                break
            last = energy
        return y.log()


class T3a(Source):
    def __init__(self, source, supports=100):
        super().__init__(source)
        self.kept, w = supports, source['linear.weight']
        self.features, self.labels, self.h = w, torch.arange(len(w)), entropy(F.linear(w, w, source['linear.bias']))

    @torch.no_grad()
    def step(self, x):
        f, z = self.network.features(x), self.network(x)
        self.features, self.labels, self.h = torch.cat([self.features, f]), torch.cat([self.labels, z.argmax(1)]), torch.cat([self.h, entropy(z)])
        templates = []
        for k in range(z.shape[1]):
            own = (self.labels == k).nonzero()[:, 0]
            own = own[self.h[own].argsort()[:self.kept]]
            templates.append(F.normalize(F.normalize(self.features[own]).sum(0), dim=0))
        return f @ torch.stack(templates).T


class Rotta:
    """RoTTA; with lr = 0 the augmentation changes nothing, and what remains is the memory and the teacher's moving statistics."""

    def __init__(self, source, lr=1e-3, memory=64, every=64, statistics=0.05, teacher=0.001, chance=CHANCE):
        self.chance = chance
        self.student, self.teacher = copied(source, affine), {n: t.clone() for n, t in source.items()}
        self.trained = [n for n, t in self.student.items() if t.requires_grad]
        self.size, self.every, self.statistics, self.nu, self.seen = memory, every, statistics, teacher, 0
        self.classes = len(source['linear.bias'])
        self.memory = {k: [] for k in range(self.classes)}
        self.optimiser = torch.optim.Adam([self.student[n] for n in self.trained], lr=lr, betas=(0.9, 0.999))

    def score(self, age, u):
        return 1 / (1 + math.exp(-age / self.size)) + u / math.log(self.classes)

    def admitted(self, k, u):
        count = {c: len(items) for c, items in self.memory.items()}
        if count[k] < self.size / self.classes:
            if sum(count.values()) < self.size:
                return True
            among = [c for c in count if count[c] == max(count.values())]
        else:
            among = [k]
        worst = max(((self.score(item[1], item[2]), c, i) for c in among for i, item in enumerate(self.memory[c])), key=lambda t: t[0])
        if worst[0] <= self.score(0, u):
            return False
        self.memory[worst[1]].pop(worst[2])
        return True

    def step(self, x):
        with torch.no_grad():
            z = Network(self.teacher, batch=False)(x)
        for image, k, u in zip(x, z.argmax(1).tolist(), entropy(z).tolist()):
            if self.admitted(k, u):
                self.memory[k].append([image, 0, u])
            for items in self.memory.values():
                for item in items:
                    item[1] += 1
            self.seen += 1
            if self.seen % self.every == 0:
                self.learn()
        return z

    def learn(self):
        items = sorted((item for k in self.memory for item in self.memory[k]), key=lambda item: -item[1])  # as they came
        x, ages = torch.stack([item[0] for item in items]), torch.tensor([item[1] / self.size for item in items])
        with torch.no_grad():
            target = Network(self.teacher, batch=False, move=self.statistics)(x).softmax(1)
        z = Network(self.student, batch=False, move=self.statistics)(self.chance.augment(x, 'rotta', self.seen))
        self.optimiser.zero_grad()
        (cross(target, z) * (-ages).exp() / (1 + (-ages).exp())).mean().backward()
        self.optimiser.step()
        with torch.no_grad():
            for n in self.trained:
                self.teacher[n].mul_(1 - self.nu).add_(self.student[n], alpha=self.nu)


FROM_SOURCE = {'eata', 'petal', 'rmt', 'adanpc'}
METHODS = {'source': Source, 'bn-adapt': BnAdapt, 'tent': Tent, 'cotta': Cotta, 'eata': Eata, 'sar': Sar, 'lame': Lame, 't3a': T3a, 'rotta': Rotta, 'petal': Petal, 'ostta': Ostta, 'rmt': Rmt, 'adanpc': Adanpc}


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


def predictions(method, images):
    return [[float(f'{v:.7g}') for v in method.step(batch.permute(0, 3, 1, 2) / 255).flatten().tolist()] for batch in images]


def golden():
    tensors = random_network(7)
    folder = HERE / 'models/resnet-cifar'
    folder.mkdir(exist_ok=True)
    save_file({n: t.half().contiguous() for n, t in tensors.items()}, folder / 'model.safetensors', {'format': 'pt'})
    labels = {str(i): c for i, c in enumerate('abcd')}
    (folder / 'config.json').write_text(json.dumps({'model_type': 'resnet-cifar', 'depth': 8, 'size': 8, 'id2label': labels}, indent=2) + '\n')
    images = torch.randint(0, 256, (3, 6, 8, 8, 3), generator=torch.Generator().manual_seed(8))
    options = {'bn-adapt': {}, 'tent': {'lr': 0.01}, 'cotta': {'lr': 0.01, 'alpha': 0.9, 'restore': 0, 'p_th': 0, 'start': 1.25},
               'eata': {'lr': 0.01, 'margin': 0.8, 'similarity': 0.9, 'lambda_': 20}, 'sar': {'lr': 0.05, 'margin': 0.8},
               'lame': {'neighbours': 2}, 't3a': {'supports': 3}, 'rotta': {'lr': 0, 'memory': 8, 'every': 4, 'statistics': 0.2},
               'petal': {'lr': 0.01, 'alpha': 0.9, 'p_th': 0, 'start': 1.25, 'lambda_': 1e-6, 'delta': 0.05, 'swag_epochs': 3},
               'ostta': {'lr': 0.02, 'lambda_max': 0.25},
               'rmt': {'lr': 0.01, 'alpha': 0.9, 'warm_up': 0, 'augment': False, 'lambda_src': 0.5}, 'adanpc': {'neighbours': 3, 'confidence': 0.6}}
    labels_of = torch.tensor([0, 1, 2, 3, 0, 1])
    logits = {}
    for name, given in options.items():
        batch = images[0].permute(0, 3, 1, 2) / 255
        clean = {'clean': [(batch, labels_of)]} if name in FROM_SOURCE else {}
        method = METHODS[name](tensors, **given, **clean)
        logits[name] = predictions(method, images)
    prior = [0.6, 0.2, 0.15, 0.05]
    shifted = {'prior': prior, 'logits': predictions(LabelShift(tensors, prior, lr=0.01), images)}
    (HERE / 'models/tta.json').write_text(json.dumps({'labelShift': shifted, 'images': [batch.flatten().tolist() for batch in images], 'labels': labels_of.tolist(), 'options': {n: {camel(k): v for k, v in o.items()} for n, o in options.items()}, 'logits': logits}) + '\n')


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
