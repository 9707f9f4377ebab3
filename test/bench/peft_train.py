"""LoRA on a text encoder by transformers and PEFT: what recipes and benchmarks put beside graft.

python test/bench/peft_train.py --model DIR --train FILE --test FILE [--task classify|tag] ... > predictions.jsonl

Reads the Arrow files that `graft data` writes (text and label, or tokens and tags) and prints predictions that `graft eval` reads;
the seconds of training go to standard error. The recipe is graft's: AdamW without decay, linear schedule with warm-up, gradients clipped
to norm 1, batches of similar length, PEFT's own LoRA start, query and value projections, the whole head trained.
"""
import argparse, json, math, random, sys, time
from pathlib import Path
import pyarrow as pa
import torch
from peft import LoraConfig, TaskType, get_peft_model
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoModelForTokenClassification, get_scheduler

parser = argparse.ArgumentParser()
for name, default in [("model", None), ("train", None), ("test", None), ("task", "classify"), ("log", None)]:
    parser.add_argument(f"--{name}", default=default)
for name, default in [("epochs", 3), ("batch-size", 32), ("rank", 8), ("alpha", 8), ("seed", 0), ("threads", 2), ("max-length", 512)]:
    parser.add_argument(f"--{name}", type=int, default=default)
for name, default in [("lr", 3e-3), ("warmup", 0.06)]:
    parser.add_argument(f"--{name}", type=float, default=default)
parser.add_argument("--dropout", choices=["checkpoint", "off"], default="checkpoint")
parser.add_argument("--shuffle", choices=["grouped", "plain"], default="grouped")
args = parser.parse_args()
torch.set_num_threads(args.threads)
torch.manual_seed(args.seed)
POOL = 50


def read(path):
    data = Path(path).read_bytes()
    opened = pa.ipc.open_file(data) if data[:6] == b"ARROW1" else pa.ipc.open_stream(data)
    table = opened.read_all()
    metadata = (table.schema.metadata or {}).get(b"huggingface", b"{}")
    return table.to_pylist(), json.loads(metadata).get("info", {}).get("features", {})


def names_of(features, column):
    feature = features[column]
    feature = feature.get("feature", feature) if isinstance(feature, dict) else feature[0]
    return feature["names"]


(train_rows, features), (test_rows, test_features) = read(args.train), read(args.test)
tag = args.task == "tag"
column = "tags" if tag else "label"
labels = names_of(features, column)
test_labels = names_of(test_features, column)
tokenizer = Tokenizer.from_file(str(Path(args.model) / "tokenizer.json"))
tokenizer.no_padding()
tokenizer.enable_truncation(args.max_length)
off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0} if args.dropout == "off" else {}
loader = AutoModelForTokenClassification if tag else AutoModelForSequenceClassification
base = loader.from_pretrained(args.model, num_labels=len(labels), **off)
model = get_peft_model(base, LoraConfig(task_type=TaskType.TOKEN_CLS if tag else TaskType.SEQ_CLS, r=args.rank, lora_alpha=args.alpha, lora_dropout=0.0, target_modules=["query", "value"]))


def encode(rows, own):
    to_train = [labels.index(n) if n in labels else -100 for n in own]
    found = []
    for row in rows:
        e = tokenizer.encode(row["tokens"], is_pretokenized=True) if tag else tokenizer.encode(row["text"])
        if tag:
            seen, target = set(), []
            for w in e.word_ids:  # the first sub-token of a word carries its tag
                target.append(-100 if w is None or w in seen else to_train[row["tags"][w]])
                seen.add(w)
        else:
            target = to_train[row["label"]]
        found.append((e, target))
    return found


def batch(chosen):
    longest = max(len(e.ids) for e, _ in chosen)
    pad = lambda values, by: values + [by] * (longest - len(values))
    inputs = {
        "input_ids": torch.tensor([pad(e.ids, tokenizer.token_to_id("[PAD]") or 0) for e, _ in chosen]),
        "attention_mask": torch.tensor([pad(e.attention_mask, 0) for e, _ in chosen]),
        "token_type_ids": torch.tensor([pad(e.type_ids, 0) for e, _ in chosen]),
    }
    return inputs, torch.tensor([pad(t, -100) if tag else t for _, t in chosen])


def order(data, draw):
    rows = list(range(len(data)))
    draw.shuffle(rows)
    if args.shuffle == "plain":
        return [rows[i:i + args.batch_size] for i in range(0, len(rows), args.batch_size)]
    pool = POOL * args.batch_size
    rows = [i for at in range(0, len(rows), pool) for i in sorted(rows[at:at + pool], key=lambda i: -len(data[i][0].ids))]
    batches = [rows[i:i + args.batch_size] for i in range(0, len(rows), args.batch_size)]
    draw.shuffle(batches)
    return batches


train, test = encode(train_rows, labels), encode(test_rows, test_labels)
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=args.lr, weight_decay=0.0)
steps = args.epochs * math.ceil(len(train) / args.batch_size)
scheduler = get_scheduler("linear", optimizer, num_warmup_steps=math.ceil(args.warmup * steps), num_training_steps=steps)
draw = random.Random(args.seed)
log = open(args.log, "w") if args.log else None
model.train()
start = time.perf_counter()
for epoch in range(args.epochs):
    for rows in order(train, draw):
        inputs, targets = batch([train[i] for i in rows])
        loss = model(**inputs, labels=targets).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        if log:
            print(json.dumps({"event": "step", "loss": loss.item()}), file=log)
seconds = time.perf_counter() - start
print(json.dumps({"seconds": round(seconds, 1), "steps": steps, "sentences per second": round(args.epochs * len(train) / seconds, 1)}), file=sys.stderr)

model.eval()
with torch.no_grad():
    for at in range(0, len(test), 64):
        chosen = test[at:at + 64]
        inputs, _ = batch(chosen)
        logits = model(**inputs).logits
        for i, row in enumerate(test_rows[at:at + 64]):
            if tag:
                words = {w: t for t, w in reversed(list(enumerate(chosen[i][0].word_ids))) if w is not None}
                picked = logits[i].argmax(-1)
                print(json.dumps({"pred_tags": [labels[picked[words[w]]] if w in words else "O" for w in range(len(row["tokens"]))], "tags": [test_labels[t] for t in row["tags"]]}))
            else:
                print(json.dumps({"logits": logits[i].tolist(), "label": labels.index(test_labels[row["label"]])}))
