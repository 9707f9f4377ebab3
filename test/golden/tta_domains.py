"""Makes test/golden/models/tta-domains.json: what methods predict over three batches, twice, after three images a class of the source domain, in plain
PyTorch written from the specification's equations, on the network of test/golden/tta.py; and the gradients of an episode of Meta-DMoE.

Run with torch and safetensors installed:
    python test/golden/tta_domains.py
"""
import json, math

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from tta import HERE, Network, affine, camel, copied, entropy


class Cafa:
    def __init__(self, source, clean, labels, lr=1e-3, epsilon=1e-5):
        f = Network(source, batch=False).features(clean).double()
        d, classes = f.shape[1], len(source['linear.bias'])
        self.mu = torch.stack([f[labels == c].mean(0) for c in range(classes)])
        tied = sum((f[labels == c] - self.mu[c]).T @ (f[labels == c] - self.mu[c]) for c in range(classes)) / len(f)
        self.inverse = []
        for c in range(classes):
            own = f[labels == c]
            sigma = torch.cov(own.T, correction=0)
            if len(own) <= d:
                rho = d / (d + len(own))
                sigma = rho * tied + (1 - rho) * sigma
            self.inverse.append(torch.linalg.inv(sigma + epsilon * torch.eye(d)))
        self.inverse = torch.stack(self.inverse)
        self.tensors = copied(source, affine)
        self.network = Network(self.tensors, batch=True)
        self.optimiser = torch.optim.Adam([t for t in self.tensors.values() if t.requires_grad], lr=lr, betas=(0.9, 0.999))

    def step(self, x):
        z, apart = self.network(x), self.network.features(x).double()[:, None] - self.mu
        distance = torch.einsum('bcd,cde,bce->bc', apart, self.inverse, apart)
        own = distance.gather(1, z.argmax(1, keepdim=True))[:, 0]
        self.optimiser.zero_grad()
        (own / distance.sum(1)).log().mean().backward()
        self.optimiser.step()
        return z.detach()


class Vdp:
    """With the loss `im` alone: it needs no teacher. The network is 8x8; the common prompt takes 6x6 in its middle."""

    def __init__(self, source, lr=1e-3, lambda_=1, xi=0.1, shift=0.1):
        self.network, self.lambda_, self.xi, self.shift = Network(source, batch=True), lambda_, xi, shift
        self.psi, self.omega = torch.zeros(3, 8, 8, requires_grad=True), torch.zeros(3, 6, 6, requires_grad=True)
        self.importance, self.path, self.anchor = (torch.zeros(3, 6, 6) for _ in range(3))
        self.optimiser, self.confidence = torch.optim.Adam([self.psi, self.omega], lr=lr, betas=(0.9, 0.999)), None

    def predict(self, x):
        return self.network(x + self.psi + F.pad(self.omega, (1, 1, 1, 1)))

    def step(self, x):
        z = self.predict(x)
        mean = z.softmax(1).mean(0)
        self.optimiser.zero_grad()
        (entropy(z).mean() + (mean * mean.log()).sum()).backward()
        confidence = z.detach().softmax(1).amax(1).mean().item()
        if self.confidence is not None and abs(confidence - self.confidence) > self.shift:
            way = self.omega.detach() - self.anchor
            self.importance += self.path.clamp(min=0) / (way ** 2 + self.xi)
            self.path, self.anchor = torch.zeros(3, 6, 6), self.omega.detach().clone()
        self.confidence = confidence
        g, before = self.omega.grad.clone(), self.omega.detach().clone()
        self.omega.grad += self.lambda_ * 2 * self.importance * (before - self.anchor)
        self.optimiser.step()
        self.path -= g * (self.omega.detach() - before)
        with torch.no_grad():
            return self.predict(x)


METHODS = {'cafa': Cafa, 'vdp': Vdp}


def waves(k, *shape):
    """Numbers both sides can make."""
    n = math.prod(shape)
    return (torch.sin(torch.arange(n, dtype=torch.float64) * (0.7 + 0.01 * k) + k)).float().view(*shape)


def meta_dmoe(source, support, query, labels, heads=4, alpha=0.05):
    """Gradients of the outer loss of Meta-DMoE through the inner step, by autograd's second derivatives."""
    d, bound = 64, 0.1
    shapes = {'norm1.weight': (d,), 'norm1.bias': (d,), 'norm2.weight': (d,), 'norm2.bias': (d,), 'attn.qkv.weight': (3 * d, d), 'attn.qkv.bias': (3 * d,), 'attn.proj.weight': (d, d),
              'attn.proj.bias': (d,), 'mlp.fc1.weight': (2 * d, d), 'mlp.fc1.bias': (2 * d,), 'mlp.fc2.weight': (d, 2 * d), 'mlp.fc2.bias': (d,)}
    phi = {n: (bound * waves(k, *shape) + ('norm' in n and 'weight' in n)).requires_grad_() for k, (n, shape) in enumerate(shapes.items())}
    tokens = waves(20, len(support), 2, d).abs()
    h = F.layer_norm(tokens, (d,), phi['norm1.weight'], phi['norm1.bias'])
    q, k, v = F.linear(h, phi['attn.qkv.weight'], phi['attn.qkv.bias']).view(*tokens.shape[:2], 3, heads, d // heads).permute(2, 0, 3, 1, 4)
    x = tokens + F.linear(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(tokens.shape), phi['attn.proj.weight'], phi['attn.proj.bias'])
    h = F.gelu(F.linear(F.layer_norm(x, (d,), phi['norm2.weight'], phi['norm2.bias']), phi['mlp.fc1.weight'], phi['mlp.fc1.bias']))
    target = (x + F.linear(h, phi['mlp.fc2.weight'], phi['mlp.fc2.bias'])).mean(1)
    student = copied(source, lambda n: 'running' not in n)
    theta = {n: t for n, t in student.items() if t.requires_grad and not n.startswith('linear')}
    inner = ((target - Network(student, batch=False).features(support)) ** 2).mean()
    moved = dict(zip(theta, (t - alpha * g for t, g in zip(theta.values(), torch.autograd.grad(inner, list(theta.values()), create_graph=True)))))
    loss = F.cross_entropy(Network(student | moved, batch=False)(query), labels)
    wanted = {**phi, **{n: student[n] for n in ('conv1.weight', 'layer2.0.conv1.weight', 'layer3.0.bn2.weight', 'linear.weight')}}
    grads = dict(zip(wanted, torch.autograd.grad(loss, list(wanted.values()))))
    return {'alpha': alpha, 'heads': heads, 'loss': loss.item(), 'target': target[0].tolist(), 'norms': {n: g.norm().item() for n, g in grads.items()}, 'first': {n: g.flatten()[:4].tolist() for n, g in grads.items()}}


if __name__ == '__main__':
    source = {n: t.float() for n, t in load_file(HERE / 'models/resnet-cifar/model.safetensors').items()}
    images = torch.randint(0, 256, (5, 6, 8, 8, 3), generator=torch.Generator().manual_seed(9))
    batches = [batch.permute(0, 3, 1, 2) / 255 for batch in images]
    labels = torch.arange(12) % 4
    options = {'cafa': {'lr': 0.01, 'epsilon': 0.1}, 'vdp': {'lr': 0.05, 'lambda_': 200, 'xi': 0.01, 'shift': 0.08}}
    logits = {}
    for name, given in options.items():
        method = METHODS[name](source, *((torch.cat(batches[:2]), labels) if name == 'cafa' else ()), **given)
        logits[name] = [[float(f'{v:.7g}') for v in method.step(x).flatten().tolist()] for x in batches[2:] + batches[2:]]
    meta = meta_dmoe(source, batches[0], batches[1], labels[6:])
    (HERE / 'models/tta-domains.json').write_text(json.dumps({
        'images': [batch.flatten().tolist() for batch in images], 'labels': labels.tolist(), 'options': {n: {camel(k): v for k, v in o.items()} | ({'loss': 'im'} if n == 'vdp' else {}) for n, o in options.items()}, 'logits': logits, 'meta': meta}) + '\n')
