"""Whole processes of the peers for `npm run bench -- processes`: peer_processes.py THREADS start|pissa|pissa_niter_4 MODEL."""
import sys

import torch

torch.set_num_threads(int(sys.argv[1]))
what, model = sys.argv[2:]
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
else:
    from transformers import AutoModel

    get_peft_model(AutoModel.from_pretrained(model), LoraConfig(r=16, target_modules=["query", "value"], init_lora_weights=what))
