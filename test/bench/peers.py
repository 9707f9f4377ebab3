"""The peers' side of `npm run bench`: PyTorch, transformers, PEFT and NumPy's OpenBLAS do the same work as test/bench/own.ts.

Reads one JSON object a line from standard input and answers with one: {"open": work} sets a piece of work up and runs it once,
{"run": true} runs it again and gives its seconds, and those of all its threads on a processor, {"memory": true} the peak resident bytes of the process.
"""
import json, resource, sys, time
from pathlib import Path
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "golden"))
torch.set_num_threads(int(sys.argv[1]))
torch.manual_seed(0)


def product(m, k, n, ta=False, tb=False, **_):
    a, b = (np.random.rand(*s).astype("f4") for s in ((k, m) if ta else (m, k), (n, k) if tb else (k, n)))
    a, b = a.T if ta else a, b.T if tb else b
    return lambda: a @ b


def classifier(model, head=True):
    from transformers import AutoConfig, AutoModelForSequenceClassification

    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return AutoModelForSequenceClassification.from_pretrained(model, num_labels=6, **off)


def texts(lengths, vocabulary):
    """A padded batch of random tokens, as the usual collator makes it."""
    longest = max(lengths)
    mask = torch.tensor([[1] * n + [0] * (longest - n) for n in lengths])
    return {"input_ids": torch.randint(1000, vocabulary, mask.shape) * mask, "attention_mask": mask, "labels": torch.arange(len(lengths)) % 6}


def lora(model):
    from peft import LoraConfig, TaskType, get_peft_model

    return get_peft_model(classifier(model), LoraConfig(task_type=TaskType.SEQ_CLS, r=8, lora_alpha=8, lora_dropout=0.0, target_modules=["query", "value"]))


def train(model, batches, bf16=False, full=False, **_):
    """One optimiser step for each list of lengths."""
    network = (classifier if full else lora)(model).train()
    optimiser = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-4)
    inputs = [texts(lengths, 30522) for lengths in batches]

    def run():
        for x in inputs:
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = network(**x).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad()
            loss.item()

    return run


def evaluate(model, batches, **_):
    network, inputs = classifier(model).eval(), [texts(lengths, 30522) for lengths in batches]

    def run():
        with torch.inference_mode():
            for x in inputs:
                network(input_ids=x["input_ids"], attention_mask=x["attention_mask"]).logits.numpy()

    return run


def generate(model, tokens, **_):
    from transformers import AutoModelForCausalLM

    network, ids = AutoModelForCausalLM.from_pretrained(model, dtype="auto").eval(), torch.arange(16)[None] * 7 + 100

    def run():
        with torch.inference_mode():
            network.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, pad_token_id=0)

    return run


def tta(weights, method, batch, **_):
    from safetensors.torch import load_file
    from tta import METHODS

    adaptation, x = METHODS[method](load_file(weights)), torch.rand(batch, 3, 32, 32)
    return lambda: adaptation.step(x)


KINDS = {"product": product, "train": train, "evaluate": evaluate, "generate": generate, "tta": tta}

for line in sys.stdin:
    asked = json.loads(line)
    if "open" in asked:
        run = KINDS[asked["open"]["kind"]](**asked["open"])
        run()
        answer = {}
    elif "run" in asked:
        start, used = time.perf_counter(), time.process_time()
        run()
        answer = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - used}
    else:
        answer = {"bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    print(json.dumps(answer), flush=True)
