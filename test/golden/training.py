"""Golden values for schedules, optimisers and losses: python test/golden/training.py > test/golden/training.json"""
import json, sys
import torch
from transformers import get_scheduler

torch.manual_seed(0)
torch.set_num_threads(1)


def schedules():
    out = []
    for kind, warmup, total, extra in [("constant", 0, 10, {}), ("constant_with_warmup", 4, 10, {}), ("linear", 0, 10, {}), ("linear", 3, 10, {}), ("cosine", 0, 10, {}),
                                       ("cosine", 3, 10, {}), ("polynomial", 2, 10, {}), ("polynomial", 2, 10, {"lr_end": 1e-5, "power": 2.0})]:
        parameter = torch.nn.Parameter(torch.zeros(1))
        optimizer = torch.optim.SGD([parameter], lr=2e-3)
        scheduler = get_scheduler(kind, optimizer, num_warmup_steps=warmup, num_training_steps=total, scheduler_specific_kwargs=extra or None)
        rates = []
        for _ in range(total):
            rates.append(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
        out.append({"kind": kind.replace("_with_warmup", ""), "warmup": warmup, "totalSteps": total, "lr": 2e-3,
                    "lrEnd": extra.get("lr_end", 1e-7), "power": extra.get("power", 1.0), "rates": rates})
    return out


def optimisers():
    start = torch.randn(3, 2)
    grads = torch.randn(6, 3, 2)
    out = []
    for name, make in {
        "adamw": lambda p: torch.optim.AdamW([p], lr=0.05, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1),
        "sgd": lambda p: torch.optim.SGD([p], lr=0.05, weight_decay=0.1),
        "sgd momentum": lambda p: torch.optim.SGD([p], lr=0.05, momentum=0.9, weight_decay=0.1),
        "sgd nesterov": lambda p: torch.optim.SGD([p], lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.1),
    }.items():
        parameter = torch.nn.Parameter(start.clone())
        optimizer = make(parameter)
        norms = []
        for g in grads:
            parameter.grad = g.clone()
            norms.append(torch.nn.utils.clip_grad_norm_([parameter], 1.0).item())
            optimizer.step()
        out.append({"name": name, "end": parameter.detach().flatten().tolist()})
    return {"start": start.flatten().tolist(), "grads": grads.flatten(1).tolist(), "norms": norms, "runs": out}


json.dump({"schedules": schedules(), "optimisers": optimisers()}, sys.stdout)
