"""Training by PEFT, for graft train to agree with.

python test/golden/peft_training.py                     LoRA on a small random BERT: rewrites test/golden/peft/
python test/golden/peft_training.py METHOD...           dora, adalora or ia3, 20 steps on that model: rewrites test/golden/peft/METHOD/
python test/golden/peft_training.py MODEL DATA LABELS OUT [STEPS]   a checkpoint on rows of JSON lines (text, label), results in OUT

Leaves in the folder: start/ and end/ (PEFT layout), training.json (losses of the steps). Batches of 8 in the order of the rows,
AdamW with decay on everything, gradients clipped to norm 1, a linear schedule with 5 steps of warm-up; no dropout.
"""
import json, random, sys
from pathlib import Path
import torch
from peft import AdaLoraConfig, IA3Config, LoraConfig, TaskType, get_peft_model
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification, get_scheduler

torch.manual_seed(0)
torch.set_num_threads(2)
BATCH, LR, WARMUP = 8, 5e-3, 5
LORA = lambda steps: LoraConfig(task_type=TaskType.SEQ_CLS, r=4, lora_alpha=8, lora_dropout=0.0, target_modules=["query", "value"])
METHODS = {
    "dora": lambda steps: LoraConfig(task_type=TaskType.SEQ_CLS, r=4, lora_alpha=8, use_dora=True, target_modules=["query", "value"]),
    "adalora": lambda steps: AdaLoraConfig(task_type=TaskType.SEQ_CLS, init_r=4, target_r=2, lora_alpha=16, tinit=4, tfinal=5, deltaT=2, orth_reg_weight=0.1, total_step=steps),
    "ia3": lambda steps: IA3Config(task_type=TaskType.SEQ_CLS),
}


def small(folder):
    """A small random checkpoint and 400 rows whose label hangs on which words outnumber which."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + [f"w{i}" for i in range(45)]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.add_special_tokens(words[:5])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    config = BertConfig(vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, max_position_embeddings=32,
                        initializer_range=0.2, num_labels=3, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    BertForSequenceClassification(config).save_pretrained(folder / "model")
    tokenizer.save(str(folder / "model" / "tokenizer.json"))
    draw = random.Random(0)
    with open(folder / "rows.jsonl", "w") as out:
        for _ in range(400):
            picked = [draw.randrange(45) for _ in range(draw.randint(3, 14))]
            print(json.dumps({"text": " ".join(f"w{i}" for i in picked), "label": max(range(3), key=lambda c: sum(i % 3 == c for i in picked))}), file=out)
    return folder / "model", folder / "rows.jsonl", 3, 50


def train(model_path, rows_path, labels, steps, out, lr, config=LORA):
    rows = [json.loads(line) for line in open(rows_path)]
    tokenizer = Tokenizer.from_file(str(Path(model_path) / "tokenizer.json"))
    tokenizer.enable_padding(pad_id=tokenizer.token_to_id("[PAD]"), pad_token="[PAD]")
    tokenizer.enable_truncation(min(512, AutoConfig.from_pretrained(model_path).max_position_embeddings))
    base = AutoModelForSequenceClassification.from_pretrained(model_path, num_labels=labels, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, attn_implementation="eager")
    model = get_peft_model(base, config(steps))
    model.save_pretrained(out / "start")
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr, weight_decay=0.01)
    scheduler = get_scheduler("linear", optimizer, num_warmup_steps=WARMUP, num_training_steps=steps)
    losses, norms = [], []
    for step in range(steps):
        batch = [rows[(step * BATCH + i) % len(rows)] for i in range(BATCH)]
        encoded = tokenizer.encode_batch([r["text"] for r in batch])
        loss = model(input_ids=torch.tensor([e.ids for e in encoded]), attention_mask=torch.tensor([e.attention_mask for e in encoded]),
                     token_type_ids=torch.tensor([e.type_ids for e in encoded]), labels=torch.tensor([r["label"] for r in batch])).loss
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).item())
        optimizer.step()
        if hasattr(model.base_model, "update_and_allocate"):
            model.base_model.update_and_allocate(step + 1)
        scheduler.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    model.save_pretrained(out / "end")
    for config in out.glob("*/adapter_config.json"):
        config.write_text(json.dumps({**json.loads(config.read_text()), "base_model_name_or_path": None}, indent=2, sort_keys=True) + "\n")
    for extra in [*out.glob("*/README.md"), out / "model" / "tokenizer_config.json"]:
        extra.unlink(missing_ok=True)
    (out / "training.json").write_text(json.dumps({"losses": losses, "gradNorms": norms}))


if sys.argv[1:] and all(name in METHODS for name in sys.argv[1:]):
    folder = Path(__file__).parent / "peft"
    for name in sys.argv[1:]:
        train(folder / "model", folder / "rows.jsonl", 3, 20, folder / name, LR, METHODS[name])
elif len(sys.argv) > 1:
    out = Path(sys.argv[4])
    train(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[5]) if len(sys.argv) > 5 else 50, out, 1e-3)
else:
    folder = Path(__file__).parent / "peft"
    folder.mkdir(exist_ok=True)
    model, rows, labels, steps = small(folder)
    train(model, rows, labels, steps, folder, LR)
