"""The peers' side of `npm run bench`: PyTorch, transformers, PEFT and NumPy's OpenBLAS do the same work as test/bench/own.ts.
peers.py THREADS [onnx]: with the latter ONNX Runtime does it.

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


def product(m, k, n, times, ta=False, tb=False, precision=None, **_):
    if precision:
        x, w = (torch.rand(*s).to(torch.bfloat16) for s in ((m, k), (n, k)))
        multiply = lambda: x @ w.T
    else:
        a, b = (np.random.rand(*s).astype("f4") for s in ((k, m) if ta else (m, k), (n, k) if tb else (k, n)))
        a, b = a.T if ta else a, b.T if tb else b
        multiply = lambda: a @ b

    def run():
        for _ in range(times):
            multiply()

    return run


def classifier(model, images=0):
    from transformers import AutoModelForImageClassification, AutoModelForSequenceClassification

    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return (AutoModelForImageClassification if images else AutoModelForSequenceClassification).from_pretrained(model, num_labels=6, **off)


def texts(lengths, vocabulary):
    """A padded batch of random tokens, as the usual collator makes it."""
    longest = max(lengths)
    mask = torch.tensor([[1] * n + [0] * (longest - n) for n in lengths])
    return {"input_ids": torch.randint(1000, vocabulary, mask.shape) * mask, "attention_mask": mask, "labels": torch.arange(len(lengths)) % 6}


def lora(model, images=0):
    from peft import LoraConfig, TaskType, get_peft_model

    task = {} if images else {"task_type": TaskType.SEQ_CLS}
    return get_peft_model(classifier(model, images), LoraConfig(**task, r=8, lora_alpha=8, lora_dropout=0.0, target_modules=["query", "value", "q_proj", "v_proj"], modules_to_save=["classifier"]))


def train(model, batches, images=0, precision=None, full=False, **_):
    """One optimiser step for each list of lengths, or one on images."""
    network = (classifier if full else lora)(model, images).train()
    optimiser = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-4)
    inputs = [texts(lengths, 30522) for lengths in batches] or [{"pixel_values": torch.rand(images, 3, 224, 224), "labels": torch.arange(images) % 6}]

    def run():
        for x in inputs:
            with torch.autocast("cpu", torch.bfloat16, enabled=precision is not None):
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


def exported(model, batches, **_):
    """The same in ONNX Runtime."""
    import onnxruntime, tempfile

    network, inputs = classifier(model).eval(), [texts(lengths, 30522) for lengths in batches]
    names, batch, tokens = ["input_ids", "attention_mask"], torch.export.Dim("batch"), torch.export.Dim("tokens", max=512)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/model.onnx"
        torch.onnx.export(network, (), path, kwargs={n: inputs[0][n] for n in names}, input_names=names, dynamo=True, verbose=False, dynamic_shapes={n: {0: batch, 1: tokens} for n in names})
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run():
        for x in inputs:
            session.run(None, {n: x[n].numpy() for n in names})

    return run


def generate(model, tokens, **_):
    from transformers import AutoModelForCausalLM

    network, ids = AutoModelForCausalLM.from_pretrained(model, dtype="auto").eval(), torch.arange(16)[None] * 7 + 100

    def run():
        with torch.inference_mode():
            network.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, pad_token_id=0)

    return run


def tta(weights, method, batch, size, options={}, **_):
    x = torch.rand(batch, 3, size, size)
    if Path(weights).is_dir():
        return photographs(weights, method, x)
    from safetensors.torch import load_file
    from tta import METHODS

    snake = {''.join('_' + c.lower() if c.isupper() else c for c in name): value for name, value in options.items()}
    adaptation = METHODS[method](load_file(weights), **snake)
    return lambda: adaptation.step(x)


def photographs(model, method, x):
    """A Hugging Face network as it is, or under Tent."""
    from transformers import AutoModelForImageClassification

    network = AutoModelForImageClassification.from_pretrained(model).eval().requires_grad_(False)
    if method == "source":
        def run():
            with torch.inference_mode():
                return network(x).logits
        return run
    affine = []
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.requires_grad_(True).train()
            module.track_running_stats, module.running_mean, module.running_var = False, None, None
            affine += module.parameters()
    optimiser = torch.optim.Adam(affine, lr=1e-3)

    def run():
        logits = network(x).logits
        (-(logits.softmax(1) * logits.log_softmax(1)).sum(1).mean()).backward()
        optimiser.step()
        optimiser.zero_grad()

    return run


KINDS = {"product": product, "train": train, "evaluate": exported if "onnx" in sys.argv else evaluate, "generate": generate, "tta": tta}

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
