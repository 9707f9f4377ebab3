"""Makes test/golden/dropout.json: logits of the small models of test/golden/models in training mode, dropping what graft drops.

Run with torch and transformers installed, after models.py:
    python test/golden/dropout.py
Every place where transformers drops takes graft's mask for it (a hash of seed, step, place and element, written out again below), so that
logits agree only if graft drops at the same places, the same values, at the same rates.
"""
import json, pathlib

import numpy, torch
import transformers as hf

torch.set_num_threads(1)
HERE = pathlib.Path(__file__).parent
SEED, STEP = 7, 3
M = 0xffffffff


def keys(*seed):
    """The first two numbers of graft's generator: xoshiro128**, seeded through splitmix32."""
    h = 0x9e3779b9
    for byte in ''.join(f'{part}\0' for part in seed).encode():
        h = ((h ^ byte) * 0x01000193 & M) ^ (h >> 15)
    s = []
    for _ in range(4):
        h = (h + 0x9e3779b9) & M
        s.append(int(mix(numpy.array([h], numpy.uint32))[0]))
    rotl = lambda x, k: ((x << k) | (x >> (32 - k))) & M
    out = []
    for _ in range(2):
        out.append(rotl(s[1] * 5 & M, 7) * 9 & M)
        t = s[1] << 9 & M
        s[2] ^= s[0]; s[3] ^= s[1]; s[1] ^= s[2]; s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotl(s[3], 11)
    return [numpy.uint32(k) for k in out]


def mix(h):
    h = (h ^ (h >> numpy.uint32(16))) * numpy.uint32(0x21f0aaad)
    h = (h ^ (h >> numpy.uint32(15))) * numpy.uint32(0x735a2d97)
    return h ^ (h >> numpy.uint32(15))


def factors(shape, rate, kind, name):
    key0, key1 = keys('model', SEED, STEP, kind, name)
    hashed = lambda n: mix(mix(numpy.arange(n, dtype=numpy.uint32) ^ key0) + key1)
    columns = shape[-1]
    if kind == 'attention':
        rows = hashed(int(numpy.prod(shape[:-1])))
        h = mix(rows[:, None] + numpy.arange(columns, dtype=numpy.uint32) * numpy.uint32(0x9e3779b9))
    else:
        h = hashed(int(numpy.prod(shape)))
    return torch.tensor(numpy.where(h.reshape(shape) < rate * 2 ** 32, 0, 1 / (1 - rate)), dtype=torch.float32)


def place(module):
    """graft's kind and name for the place of a dropout module."""
    parent, last = module.rpartition('.')[::2]
    for end, kind in {'attention.output': 'attention.output', 'output': 'ffn.output', 'attn': 'attention.output', 'mlp': 'ffn.output'}.items():
        if parent.split('.')[-len(end.split('.')):] == end.split('.'):
            return kind, parent
    return 'hidden', module


def drop_as_graft(model):
    """Replaces every dropout of the model: modules by their place, weights of attention by the attention they belong to."""
    attention = {}  # weights are dropped by a function, inside the forward of the module that holds the projections
    for name, module in model.named_modules():
        if type(module).__name__ in ('BertSelfAttention', 'RobertaSelfAttention', 'XLMRobertaSelfAttention', 'GPT2Attention', 'LlamaAttention', 'ViTAttention'):
            at = VIT(name) if 'ViT' in type(module).__name__ else name
            module.register_forward_pre_hook(lambda *_, at=at: attention.update(now=at))
        if isinstance(module, torch.nn.Dropout):
            module.forward = Dropped(name, module.p, 'ViTLayer' in type(model.get_submodule(name.rpartition('.')[0])).__name__)
    torch.nn.functional.dropout = lambda x, p=0.5, training=True, inplace=False: (
        x * factors(x.shape, p, 'attention', attention['now']) if training and p > 0 else x)


# transformers 5 renames ViT's modules while loading; graft keeps the names of the files.
VIT = lambda name: name.replace('vit.layers.', 'vit.encoder.layer.') + '.attention'


class Dropped:
    def __init__(self, name, rate, vit):
        self.name, self.rate, self.vit, self.calls = name, rate, vit, 0

    def __call__(self, x):
        self.calls += 1
        if self.rate == 0:
            return x
        if self.vit:  # one module per layer, called after attention and after the feed-forward part
            layer = VIT(self.name.rpartition('.')[0])[:-len('.attention')]
            kind, name = ('attention.output', f'{layer}.attention.output') if self.calls == 1 else ('ffn.output', f'{layer}.output')
        elif self.name.startswith('classifier.'):  # RoBERTa's head drops twice
            kind, name = 'hidden', 'dropout' if self.calls == 1 else self.name
        else:
            kind, name = place(self.name)
        return x * factors(x.shape, self.rate, kind, name)


CASES = {
    'bert-classify': (hf.BertForSequenceClassification, dict(classifier_dropout=0.3)),
    'bert-tag': (hf.BertForTokenClassification, dict(hidden_dropout_prob=0.25, attention_probs_dropout_prob=0.4)),
    'roberta-classify': (hf.RobertaForSequenceClassification, {}),
    'xlm-roberta-tag': (hf.XLMRobertaForTokenClassification, dict(classifier_dropout=0.5)),
    'gpt2-clm': (hf.GPT2LMHeadModel, dict(embd_pdrop=0.2, resid_pdrop=0.3, attn_pdrop=0.4)),
    'gpt2-classify': (hf.GPT2ForSequenceClassification, {}),
    'llama-clm': (hf.LlamaForCausalLM, dict(attention_dropout=0.3)),
    'vit-classify': (hf.ViTForImageClassification, dict(hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.3)),
}


def main():
    plain, out = torch.nn.functional.dropout, {}
    for name, (kind, rates) in CASES.items():
        torch.nn.functional.dropout = plain
        model = kind.from_pretrained(HERE / 'models' / name, attn_implementation='eager', **rates).train()
        drop_as_graft(model)
        given = json.loads((HERE / 'models' / f'{name}.json').read_text())
        inputs = {k: torch.tensor(given[k]) for k in ('input_ids', 'attention_mask', 'token_type_ids') if k in given}
        if 'pixels' in given:
            mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
            pixels = torch.tensor(given['pixels']).reshape(given['shape'])
            inputs = {'pixel_values': ((pixels - mean) / std).permute(0, 3, 1, 2)}
        with torch.no_grad():
            logits = model(**inputs).logits
        if logits.dim() == 3:
            logits = logits[inputs['attention_mask'].bool()]
        out[name] = {'config': rates, 'logits': [float(f'{v:.7g}') for v in logits.flatten()[:120].tolist()]}
    (HERE / 'dropout.json').write_text(json.dumps({'seed': SEED, 'step': STEP, 'models': out}, separators=(',', ':')) + '\n')


main()
