"""The peers' side of `npm run bench` and `bench:gpu`: PyTorch, transformers, PEFT and NumPy's OpenBLAS do the same work as test/bench/own.ts.
peers.py THREADS [onnx] [cuda] [compile]: with onnx ONNX Runtime does it; with cuda it is done on the GPU, on models whose random weights are
made there, with fused AdamW and PyTorch's fast attention; compile also hands training steps to torch.compile.

Reads one JSON object a line from standard input and answers with one: {"open": work} sets a piece of work up and runs it once,
{"run": true} runs it again and gives its seconds, and those of all its threads on a processor, {"memory": true} the peak bytes of the process,
or of its tensors on the GPU, {"facts": true} versions, {"close": true} gives the work's memory back. What goes wrong is {"error": line}.
"""
import gc, json, resource, sys, time
from pathlib import Path
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "golden"))
torch.set_num_threads(int(sys.argv[1]))
torch.manual_seed(0)
CUDA = "cuda" in sys.argv
DEVICE = "cuda" if CUDA else "cpu"
if CUDA:
    torch.set_default_device(DEVICE)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True


def settle():
    if CUDA:
        torch.cuda.synchronize()


def loaded(kind, model, dtype, **config):
    """The checkpoint; on the GPU one of its shape, since speed does not depend on what it knows."""
    if not CUDA:
        return kind.from_pretrained(model, dtype=dtype, **config)
    from transformers import AutoConfig

    given = AutoConfig.from_pretrained(model, **config)
    return kind.from_config(given, dtype=torch.bfloat16 if dtype == "auto" else dtype, attn_implementation="sdpa" if given.model_type != "resnet" else "eager").to(DEVICE)


def product(m, k, n, times, ta=False, tb=False, precision=None, **_):
    if precision:
        x, w = (torch.rand(*s).to(torch.bfloat16) for s in ((m, k), (n, k)))
        multiply = lambda: x @ w.T
    elif CUDA:
        a, b = (torch.rand(*s) for s in ((k, m) if ta else (m, k), (n, k) if tb else (k, n)))
        multiply = lambda: (a.T if ta else a) @ (b.T if tb else b)
    else:
        a, b = (np.random.rand(*s).astype("f4") for s in ((k, m) if ta else (m, k), (n, k) if tb else (k, n)))
        a, b = a.T if ta else a, b.T if tb else b
        multiply = lambda: a @ b

    def run():
        for _ in range(times):
            multiply()

    return run


OFF = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def classifier(model, images=0, dtype=torch.float32):
    from transformers import AutoModelForImageClassification, AutoModelForSequenceClassification

    return loaded(AutoModelForImageClassification if images else AutoModelForSequenceClassification, model, dtype, num_labels=6, **OFF)


def speaker(model, stored=None):
    """A decoder with its head; stored: its weights lie in NF4, as QLoRA has them."""
    from transformers import AutoModelForCausalLM

    if not stored:
        return loaded(AutoModelForCausalLM, model, "auto")
    from transformers import BitsAndBytesConfig

    nf4 = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=stored, bnb_4bit_compute_dtype=torch.bfloat16)
    return AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16, quantization_config=nf4, device_map={"": 0 if CUDA else "cpu"})


def texts(lengths, vocabulary):
    """A padded batch of random tokens, as the usual collator makes it."""
    longest = max(lengths)
    mask = torch.tensor([[1] * n + [0] * (longest - n) for n in lengths])
    return {"input_ids": torch.randint(1000, vocabulary, mask.shape) * mask, "attention_mask": mask, "labels": torch.arange(len(lengths)) % 6}


QUERY_VALUE = ["query", "value", "q_proj", "v_proj"]


def lora(network, task, images=0, rank=8, everywhere=False, **more):
    from peft import LoraConfig, TaskType, get_peft_model

    targets = EVERYWHERE[network.config.model_type] if everywhere else QUERY_VALUE
    given = {} if images else {"task_type": TaskType.CAUSAL_LM if task == "clm" else TaskType.SEQ_CLS}
    return get_peft_model(network, LoraConfig(**given, r=rank, lora_alpha=rank, lora_dropout=0.0, target_modules=targets, modules_to_save=None if task == "clm" else ["classifier"], **more))


DECODER = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ENCODER = ["query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"]
EVERYWHERE = {"llama": DECODER, "bert": ENCODER, "vit": [*ENCODER, "q_proj", "k_proj", "v_proj", "o_proj", "fc1", "fc2"]}


def train(model, batches, images=0, side=224, precision=None, full=False, task="classify", recompute=False, stored=None, rank=8, everywhere=False, **_):
    """One optimiser step for each list of lengths, or one on images."""
    narrow = torch.bfloat16 if precision and CUDA and not full else torch.float32
    base = speaker(model, stored) if task == "clm" else classifier(model, images, narrow)
    if stored:
        from peft import prepare_model_for_kbit_training

        base = prepare_model_for_kbit_training(base, use_gradient_checkpointing=recompute)
    network = (base if full else lora(base, task, images, rank, everywhere)).train()
    if recompute:
        network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        network.enable_input_require_grads()
    if task == "clm":
        network.config.use_cache = False
    optimiser = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-4, **({"fused": True} if CUDA else {}))
    inputs = [texts(lengths, 30522) for lengths in batches] or [{"pixel_values": torch.rand(images, 3, side, side).to(narrow), "labels": torch.arange(images) % 6}]
    if task == "clm":
        for x in inputs:
            x["labels"] = x["input_ids"]
    if CUDA:
        for x in inputs:
            if "attention_mask" in x and bool(x["attention_mask"].all()):
                del x["attention_mask"]  # then attention is the flash kernel
    step = torch.compile(network) if "compile" in sys.argv and not stored else network

    def run():
        for x in inputs:
            with torch.autocast(DEVICE, torch.bfloat16, enabled=precision is not None):
                loss = step(**x).loss
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


def generate(model, tokens, rows=1, **_):
    network, ids = speaker(model).eval(), (torch.arange(16)[None] * 7 + 100).expand(rows, -1)

    def run():
        with torch.inference_mode():
            network.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, pad_token_id=0)

    return run


def init(model, method, rank, batches, **_):
    """LoRA of every layer from its weights or from texts; the network is there before."""
    from peft import EvaConfig, LoraConfig, get_peft_model, initialize_lora_eva_weights

    network = speaker(model)
    vocabulary = network.config.vocab_size
    inputs = [{"input_ids": torch.randint(100, vocabulary, (len(b), b[0]))} for b in batches]
    targets = EVERYWHERE["llama"]

    def run():
        import copy

        base = copy.deepcopy(network)  # what is started is changed
        settle()
        start = time.perf_counter()
        if method == "pissa":
            get_peft_model(base, LoraConfig(r=rank, target_modules=targets, init_lora_weights="pissa_niter_4"))
        elif method == "eva":
            config = LoraConfig(r=rank, target_modules=targets, init_lora_weights="eva", eva_config=EvaConfig(rho=1.0, use_label_mask=False))
            initialize_lora_eva_weights(get_peft_model(base, config), inputs, show_progress_bar=False)
        else:
            from peft.tuners.lora.config import CordaConfig
            from peft.tuners.lora.corda import preprocess_corda

            config = LoraConfig(r=rank, target_modules=targets, init_lora_weights="corda", corda_config=CordaConfig(corda_method="ipm"))

            @torch.no_grad()
            def model_run():
                for x in inputs:
                    for ids in x["input_ids"]:  # its hooks know batches of one alone
                        base(input_ids=ids[None])

            preprocess_corda(base, config, run_model=model_run)
            get_peft_model(base, config)
        settle()
        return time.perf_counter() - start

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

    network = loaded(AutoModelForImageClassification, model, torch.float32).eval().requires_grad_(False)
    if method == "cotta":
        return cotta(network, x)
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


def own_batches(network):
    """Batch norms count in the batch at hand."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.train()
            module.track_running_stats, module.running_mean, module.running_var = False, None, None
    return network


def cotta(network, x):
    """CoTTA (Wang et al., 2022) with its 32 augmented passes of the teacher; the augmentations are those of test/golden/tta.py."""
    import copy
    from tta import augmented

    anchor, teacher, student = (own_batches(copy.deepcopy(network)) for _ in range(3))
    student.requires_grad_(True)
    source = [p.detach().clone() for p in student.parameters()]
    optimiser = torch.optim.Adam(student.parameters(), lr=1e-3, **({"fused": True} if CUDA else {}))
    colours = [("brightness", 0.9), ("contrast", 1.1), ("saturation", 0.9), ("hue", 0.03), ("gamma", 1.1)]

    def run():
        with torch.no_grad():
            anchor(x).logits.softmax(1).amax(1).mean().item()
            target = sum(teacher(augmented(x, colours, 0.1, 1.0, 1, 1, 0.3, i % 2 == 0, 0.005 * torch.randn_like(x))).logits for i in range(32)) / 32
        z = student(x).logits
        (-(target.softmax(1) * z.log_softmax(1)).sum(1).mean()).backward()
        optimiser.step()
        optimiser.zero_grad()
        with torch.no_grad():
            for t, p, s in zip(teacher.parameters(), student.parameters(), source):
                t.mul_(0.999).add_(p, alpha=0.001)
                p.copy_(torch.where(torch.rand_like(p) < 0.01, s, p))

    return run


def facts():
    import importlib.metadata as installed

    def version(name):
        try:
            return installed.version(name)
        except installed.PackageNotFoundError:
            return None

    found = {name: version(name) for name in ("torch", "transformers", "peft", "bitsandbytes")}
    return {**found, "cuda": torch.version.cuda, "gpu": torch.cuda.get_device_name() if CUDA else None}


KINDS = {"product": product, "train": train, "evaluate": exported if "onnx" in sys.argv else evaluate, "generate": generate, "tta": tta, "init": init}


def answer_to(asked):
    global run
    if "facts" in asked:
        return facts()
    if "memory" in asked:
        return {"bytes": torch.cuda.max_memory_allocated() if CUDA else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    if "run" in asked:
        start, used = time.perf_counter(), time.process_time()
        own = run()
        settle()
        return {"seconds": own if isinstance(own, float) else time.perf_counter() - start, "cpu": time.process_time() - used}
    run = None
    gc.collect()
    if CUDA:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    if "open" in asked:
        run = KINDS[asked["open"]["kind"]](**asked["open"])
        run()
    return {}


run = None
for line in sys.stdin:
    try:
        answer = answer_to(json.loads(line))
    except Exception as error:  # one piece of work that fails is not the end of the others
        answer = {"error": f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"}
    print(json.dumps(answer), flush=True)
