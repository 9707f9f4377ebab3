"""Makes test/golden/models/tta-domains.json: what CAFA predicts over three batches after three images a class of the source domain, in plain
PyTorch written from the specification's equations, on the network of test/golden/tta.py.

Run with torch and safetensors installed:
    python test/golden/tta_domains.py
"""
import json

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from tta import HERE, Network, affine, copied


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


METHODS = {'cafa': Cafa}


if __name__ == '__main__':
    source = {n: t.float() for n, t in load_file(HERE / 'models/resnet-cifar/model.safetensors').items()}
    images = torch.randint(0, 256, (5, 6, 8, 8, 3), generator=torch.Generator().manual_seed(9))
    batches = [batch.permute(0, 3, 1, 2) / 255 for batch in images]
    labels = torch.arange(12) % 4
    options = {'cafa': {'lr': 0.01, 'epsilon': 0.1}}
    logits = {}
    for name, given in options.items():
        method = METHODS[name](source, torch.cat(batches[:2]), labels, **given)
        logits[name] = [[float(f'{v:.7g}') for v in method.step(x).flatten().tolist()] for x in batches[2:]]
    (HERE / 'models/tta-domains.json').write_text(json.dumps({
        'images': [batch.flatten().tolist() for batch in images], 'labels': labels.tolist(), 'options': options, 'logits': logits}) + '\n')
