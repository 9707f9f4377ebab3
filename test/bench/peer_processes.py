"""Whole processes of the peers for `npm run bench -- processes`: peer_processes.py THREADS start|eva|pissa|pissa_niter_4 MODEL [TEXTS]."""
import sys

import torch

torch.set_num_threads(int(sys.argv[1]))
what, model, *more = sys.argv[2:]
from peft import LoraConfig, TaskType, get_peft_model

if what == "start":
    from tokenizers import Tokenizer
    from transformers import AutoModelForSequenceClassification

    network = get_peft_model(AutoModelForSequenceClassification.from_pretrained(model, num_labels=6), LoraConfig(task_type=TaskType.SEQ_CLS, r=16, target_modules=["query", "value"])).train()
    tokenizer = Tokenizer.from_file(f"{model}/tokenizer.json")
    ids = torch.tensor([tokenizer.encode("the quick brown fox jumps over the lazy dog " * 3).ids] * 32)
    optimiser = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-3)
    network(input_ids=ids, attention_mask=torch.ones_like(ids), labels=torch.arange(32) % 6).loss.backward()
    optimiser.step()
elif what == "eva":
    import json

    from peft import EvaConfig, initialize_lora_eva_weights
    from tokenizers import Tokenizer
    from transformers import AutoModel

    tokenizer = Tokenizer.from_file(f"{model}/tokenizer.json")
    tokenizer.enable_padding()
    texts = [json.loads(line)["text"] for line in open(more[0])]
    batches = [tokenizer.encode_batch(texts[i : i + 32]) for i in range(0, len(texts), 32)]
    inputs = [{"input_ids": torch.tensor([e.ids for e in b]), "attention_mask": torch.tensor([e.attention_mask for e in b])} for b in batches]
    config = LoraConfig(r=16, target_modules=["query", "value"], init_lora_weights="eva", eva_config=EvaConfig(rho=2.0, use_label_mask=False))
    initialize_lora_eva_weights(get_peft_model(AutoModel.from_pretrained(model), config, low_cpu_mem_usage=True), inputs, show_progress_bar=False)
else:
    from transformers import AutoModel

    get_peft_model(AutoModel.from_pretrained(model), LoraConfig(r=16, target_modules=["query", "value"], init_lora_weights=what))
