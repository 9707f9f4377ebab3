"""Makes the checkpoints and expected outputs of test/models: small random models of transformers, and real networks where they are at hand.

Run with torch, transformers and safetensors installed:
    python test/golden/models.py [--minilm DIR] [--cifar DIR]
writes test/golden/models/<name>/{config.json,model.safetensors} and test/golden/models/<name>.json: inputs, the last hidden
states at positions that are not padding, and the logits of the head. --minilm and --cifar (the folder with cifar10-test.tar and
resnet*.safetensors) make minilm.json, tokens.json and cifar.json, a few numbers each, for checkpoints too large to commit.
"""
import argparse, io, json, pathlib, tarfile

import numpy, torch
import torch.nn.functional as F
import transformers as hf
from safetensors.torch import load_file, save_file

torch.set_num_threads(1)
HERE = pathlib.Path(__file__).parent / 'models'
TEXT = dict(vocab_size=61, hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=40)


def randomise(model, seed):
    """Weights of standard deviation 0.2 (convolutions: keeping the scale), so that a misplaced one shows; no buffer at its default."""
    g = torch.Generator().manual_seed(seed)
    tied = set()
    for name, t in model.state_dict().items():
        if not t.is_floating_point() or t.data_ptr() in tied:
            continue
        tied.add(t.data_ptr())
        noise = torch.randn(t.shape, generator=g) * 0.2
        if t.dim() == 4:
            noise *= 5 / t[0].numel() ** 0.5
        if name.endswith('running_var'):
            noise = noise.abs() + 0.5
        elif ('norm' in name.lower() or 'ln_' in name) and name.endswith('weight'):
            noise = noise + 1
        t.copy_(noise)
    return model.eval()


def text(seed, vocab, lengths=(7, 11, 4), types=False, reserved=3):
    """Rows of odd lengths, padded on the right with id 1; ids below `reserved` are special."""
    g = torch.Generator().manual_seed(seed)
    T = max(lengths)
    ids, mask, segments = (torch.zeros(len(lengths), T, dtype=torch.long) for _ in range(3))
    ids[:] = 1
    for b, n in enumerate(lengths):
        ids[b, :n] = torch.randint(reserved, vocab, (n,), generator=g)
        mask[b, :n] = 1
        if types:
            segments[b, n // 2:n] = 1
    return {'input_ids': ids, 'attention_mask': mask, **({'token_type_ids': segments} if types else {})}


def rounded(t):
    return [float(f'{v:.7g}') for v in t.flatten().tolist()]


def write(name, model, head, inputs):
    """`head` runs the task's class; its base_model gives the hidden states."""
    with torch.no_grad():
        randomise(model, sum(map(ord, name)))
        hidden = model.base_model(**inputs).last_hidden_state
        logits = model(**inputs).logits
    folder = HERE / name
    model.save_pretrained(folder)
    for extra in folder.iterdir():
        if extra.name not in ('config.json', 'model.safetensors'):
            extra.unlink()
    weights = load_file(folder / 'model.safetensors')
    weights = {k: v for k, v in weights.items() if v.is_floating_point()}
    save_file(weights, folder / 'model.safetensors', {'format': 'pt'})
    mask = inputs.get('attention_mask')
    if mask is not None:
        hidden = hidden[mask.bool()]
        if logits.dim() == 3:
            logits = logits[mask.bool()]
    else:
        hidden = hidden.permute(0, 2, 3, 1) if hidden.dim() == 4 else hidden
    fields = {k: v.tolist() for k, v in inputs.items() if k != 'pixel_values'}
    if 'pixel_values' in inputs:
        fields['pixels'] = rounded(inputs['pixels'])
        fields['shape'] = list(inputs['pixels'].shape)
    # The names and shapes the class with this head owns beyond its backbone, for a check of headTensors().
    base = {id(p) for p in model.base_model.parameters()}
    owned = {k: list(p.shape) for k, p in model.named_parameters() if id(p) not in base}
    record = {'head': head, **fields, 'hidden': rounded(hidden), 'logits': rounded(logits), 'headTensors': owned}
    (HERE / f'{name}.json').write_text(json.dumps(record, separators=(',', ':')) + '\n')


class Images(dict):
    """pixel_values as the network takes them, pixels in [0,1] NHWC as graft does."""
    def keys(self):
        return ['pixel_values']


def images(seed, size, mean, std):
    g = torch.Generator().manual_seed(seed)
    pixels = (torch.randint(0, 256, (2, size, size, 3), generator=g).float() / 255)
    centred = (pixels - torch.tensor(mean)) / torch.tensor(std)
    return Images(pixel_values=centred.permute(0, 3, 1, 2).contiguous(), pixels=pixels)


IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def small_models():
    labels = dict(id2label={i: n for i, n in enumerate(['red', 'green', 'blue'])})
    bert = dict(TEXT, max_position_embeddings=20, **labels)
    write('bert-classify', hf.BertForSequenceClassification(hf.BertConfig(**bert)), 'classify', text(1, 61, types=True))
    write('bert-tag', hf.BertForTokenClassification(hf.BertConfig(**bert)), 'tag', text(2, 61, types=True))
    write('bert-mlm', hf.BertForMaskedLM(hf.BertConfig(**bert)), 'mlm', text(3, 61, types=True))
    roberta = dict(TEXT, max_position_embeddings=20, type_vocab_size=1, pad_token_id=1, **labels)
    write('roberta-classify', hf.RobertaForSequenceClassification(hf.RobertaConfig(**roberta)), 'classify', text(4, 61))
    write('roberta-mlm', hf.RobertaForMaskedLM(hf.RobertaConfig(**roberta)), 'mlm', text(5, 61))
    write('xlm-roberta-tag', hf.XLMRobertaForTokenClassification(hf.XLMRobertaConfig(**roberta)), 'tag', text(6, 61))
    gpt2 = dict(vocab_size=61, n_embd=24, n_layer=2, n_head=3, n_positions=20, pad_token_id=1, bos_token_id=0, eos_token_id=0, **labels)
    write('gpt2-clm', hf.GPT2LMHeadModel(hf.GPT2Config(**gpt2)), 'clm', text(7, 61))
    write('gpt2-classify', hf.GPT2ForSequenceClassification(hf.GPT2Config(**gpt2)), 'classify', text(8, 61))
    llama = dict(TEXT, num_key_value_heads=2, max_position_embeddings=32, pad_token_id=1, **labels)
    rope = lambda **o: dict(rope_parameters=dict(rope_type='default', rope_theta=500.0, **o))
    write('llama-clm', hf.LlamaForCausalLM(hf.LlamaConfig(**llama, **rope())), 'clm', text(9, 61))
    scaled = dict(rope_parameters=dict(rope_type='llama3', rope_theta=500.0, factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16))
    write('llama3-classify', hf.LlamaForSequenceClassification(hf.LlamaConfig(**llama, **scaled)), 'classify', text(10, 61))
    write('qwen2-clm', hf.Qwen2ForCausalLM(hf.Qwen2Config(**llama, **rope(), tie_word_embeddings=True)), 'clm', text(11, 61))
    write('mistral-clm', hf.MistralForCausalLM(hf.MistralConfig(**llama, **rope(), head_dim=8)), 'clm', text(12, 61))
    vit = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=40, image_size=12, patch_size=4, **labels)
    write('vit-classify', hf.ViTForImageClassification(hf.ViTConfig(**vit)), 'classify', images(13, 12, *IMAGENET))
    resnet = dict(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 2], **labels)
    write('resnet-basic', hf.ResNetForImageClassification(hf.ResNetConfig(**resnet, layer_type='basic')), 'classify', images(14, 19, *IMAGENET))
    resnet['hidden_sizes'] = [16, 32]
    write('resnet-bottleneck', hf.ResNetForImageClassification(hf.ResNetConfig(**resnet, layer_type='bottleneck')), 'classify', images(15, 19, *IMAGENET))


SENTENCES = [
    'Who was the first man to walk on the Moon?', 'graft', 'A tokeniser splits unbelievably long words; doesn\'t it?',
    'Das Café kostet 12,50 € – naïve Leute zahlen mehr.', '  spaces\tand\nlines  ', 'ALL CAPS AND numbers 1234567890', '東京 is the capital of 日本', 'emoji 🙂 and symbols ©®™',
]


def minilm(folder):
    tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    model = hf.AutoModel.from_pretrained(folder).eval()
    batch = tokenizer(SENTENCES, padding=True, return_tensors='pt')
    with torch.no_grad():
        hidden = model(**batch).last_hidden_state
    rows = [rounded(hidden[b, :n, :8]) for b, n in enumerate(batch['attention_mask'].sum(1).tolist())]
    ids = [[i for i, m in zip(r, k) if m] for r, k in zip(batch['input_ids'].tolist(), batch['attention_mask'].tolist())]
    (HERE / 'minilm.json').write_text(json.dumps({'texts': SENTENCES, 'ids': ids, 'hidden': rows}, ensure_ascii=False) + '\n')


class Block(torch.nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.conv1, self.bn1 = torch.nn.Conv2d(cin, cout, 3, cout // cin, 1, bias=False), torch.nn.BatchNorm2d(cout)
        self.conv2, self.bn2 = torch.nn.Conv2d(cout, cout, 3, 1, 1, bias=False), torch.nn.BatchNorm2d(cout)
        self.extra = cout // 4 if cout != cin else 0

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        short = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.extra, self.extra)) if self.extra else x
        return F.relu(y + short)


class CifarResNet(torch.nn.Module):
    def __init__(self, n):
        super().__init__()
        self.conv1, self.bn1 = torch.nn.Conv2d(3, 16, 3, 1, 1, bias=False), torch.nn.BatchNorm2d(16)
        stage = lambda cin, cout: torch.nn.Sequential(*[Block(cin if i == 0 else cout, cout) for i in range(n)])
        self.layer1, self.layer2, self.layer3 = stage(16, 16), stage(16, 32), stage(32, 64)
        self.linear = torch.nn.Linear(64, 10)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))


def cifar(folder):
    """The first 20 images of the archive, decoded by libjpeg through Pillow, and their logits."""
    from PIL import Image
    raw, names = [], []
    with tarfile.open(folder / 'cifar10-test.tar') as tar:
        for member in tar:
            if member.name.endswith('.jpg'):
                names.append(member.name)
                raw.append(numpy.asarray(Image.open(io.BytesIO(tar.extractfile(member).read())).convert('RGB')))
            if len(raw) == 20:
                break
    x = (torch.tensor(numpy.stack(raw)).float() / 255 - torch.tensor(IMAGENET[0])) / torch.tensor(IMAGENET[1])
    record = {'members': names, 'sums': [int(r.sum()) for r in raw], 'logits': {}}
    for path in sorted(folder.glob('resnet*.safetensors')):
        weights = load_file(path)
        net = CifarResNet(sum(k.startswith('layer1.') and k.endswith('conv1.weight') for k in weights)).eval()
        missing = net.load_state_dict(weights, strict=False)
        assert not missing.unexpected_keys and all(k.endswith('num_batches_tracked') for k in missing.missing_keys)
        with torch.no_grad():
            record['logits'][path.name] = rounded(net(x.permute(0, 3, 1, 2)))
    (HERE / 'cifar.json').write_text(json.dumps(record) + '\n')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--minilm', type=pathlib.Path)
    parser.add_argument('--cifar', type=pathlib.Path)
    args = parser.parse_args()
    HERE.mkdir(exist_ok=True)
    small_models()
    if args.minilm:
        minilm(args.minilm)
    if args.cifar:
        cifar(args.cifar)
