"""Adapters made by PEFT on the small checkpoints of test/golden/models, with random values, and the logits they give.

python test/golden/peft_methods.py [NAME...]       rewrites test/golden/peft-methods/<name>/ and test/golden/peft-methods/logits.json
python test/golden/peft_methods.py --verify DIR    PEFT loads each DIR/<name>/, which graft wrote, and must give these logits
"""
import argparse, json, shutil, sys
from pathlib import Path
import torch
from peft import AdaLoraConfig, IA3Config, LoHaConfig, LoKrConfig, LoraConfig, PeftModel, PolyConfig, PrefixTuningConfig, PromptTuningConfig, TaskType, VeraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoModelForImageClassification, AutoModelForSequenceClassification

torch.set_num_threads(1)
HERE = Path(__file__).parent
OUT = HERE / 'peft-methods'
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # what the ImageNet networks are fed
CLASSES = {'classify': (AutoModelForSequenceClassification, TaskType.SEQ_CLS), 'clm': (AutoModelForCausalLM, TaskType.CAUSAL_LM)}

lora = lambda **k: lambda task: LoraConfig(task_type=task, **k)
prefix = lambda **k: lambda task: PrefixTuningConfig(task_type=task, num_virtual_tokens=4, **k)
of = lambda kind, **k: lambda task: kind(task_type=task, **k)
prompt = lambda **k: lambda task: PromptTuningConfig(task_type=task, num_virtual_tokens=3, **k)

CASES = {
    'bert-lora': ('bert-classify', lora(r=4, lora_alpha=6)),
    'bert-rslora': ('bert-classify', lora(r=4, lora_alpha=6, use_rslora=True, target_modules='all-linear', rank_pattern={'layer.1.attention.self.query': 2, 'dense': 3}, alpha_pattern={'^encoder.*': 9, 'key': 5, r'layer\.0\..*': 2})),
    'bert-embedding': ('bert-classify', lora(r=3, lora_alpha=4, target_modules=['word_embeddings', 'value', 'output.dense'], exclude_modules=['layer.0.output.dense'])),
    'bert-regex': ('bert-classify', lora(r=2, lora_bias=True, target_modules=r'.*layer\.\d\.(intermediate|output)\.dense')),
    'bert-layers': ('bert-classify', lora(r=2, target_modules=['query', 'dense'], layers_to_transform=[1])),
    'gpt2-lora': ('gpt2-clm', lora(r=4, lora_alpha=8, target_modules=['c_attn', 'mlp.c_proj'], fan_in_fan_out=True)),
    'llama-lora': ('llama-clm', lora(r=4, lora_alpha=8)),
    'resnet-conv': ('resnet-basic', lora(r=2, lora_alpha=3, target_modules=r'.*\.convolution')),
    'bert-prefix': ('bert-classify', prefix()),
    'gpt2-prefix': ('gpt2-clm', prefix()),
    'llama-prefix': ('llama-clm', prefix(prefix_projection=True, encoder_hidden_size=5)),
    'qwen2-prefix': ('qwen2-clm', prefix()),
    'bert-prompt': ('bert-classify', prompt()),
    'gpt2-prompt': ('gpt2-clm', prompt()),
    'llama-prompt': ('llama-clm', prompt()),
    'bert-dora': ('bert-classify', lora(r=3, lora_alpha=5, use_dora=True, target_modules=['query', 'output.dense'])),
    'bert-dora-embedding': ('bert-classify', lora(r=2, lora_alpha=3, use_dora=True, use_rslora=True, target_modules=['word_embeddings', 'value'])),
    'gpt2-dora': ('gpt2-classify', lora(r=3, use_dora=True, target_modules=['c_attn', 'mlp.c_proj'], fan_in_fan_out=True)),
    'resnet-dora': ('resnet-basic', lora(r=2, use_dora=True, target_modules=r'.*\.convolution')),
    'bert-adalora': ('bert-classify', of(AdaLoraConfig, init_r=4, target_r=2, lora_alpha=6, total_step=10)),
    'llama-adalora': ('llama3-classify', of(AdaLoraConfig, init_r=3, target_r=1, total_step=10)),
    'gpt2-adalora': ('gpt2-classify', of(AdaLoraConfig, init_r=3, target_r=1, total_step=10, fan_in_fan_out=True)),
    'resnet-adalora': ('resnet-basic', of(AdaLoraConfig, init_r=2, target_r=1, total_step=10, target_modules=r'.*\.convolution')),
    'bert-vera': ('bert-classify', of(VeraConfig, r=6, target_modules=['query', 'intermediate.dense', 'output.dense'])),
    'gpt2-vera': ('gpt2-classify', of(VeraConfig, r=5, projection_prng_key=7, save_projection=False, target_modules=['c_attn', 'mlp.c_proj'], fan_in_fan_out=True)),
    'bert-ia3': ('bert-classify', of(IA3Config)),
    'gpt2-ia3': ('gpt2-classify', of(IA3Config, fan_in_fan_out=True)),
    'llama-ia3': ('llama3-classify', of(IA3Config)),
    'resnet-ia3': ('resnet-basic', of(IA3Config, target_modules=r'.*\.convolution', feedforward_modules=r'.*layer\.1\.convolution')),
    'bert-loha': ('bert-classify', of(LoHaConfig, r=3, alpha=5, target_modules=['query', 'output.dense'], rank_pattern={'query': 2}, alpha_pattern={'query': 3})),
    'resnet-loha': ('resnet-basic', of(LoHaConfig, r=2, target_modules=r'.*\.convolution')),
    'resnet-loha-effective': ('resnet-basic', of(LoHaConfig, r=2, use_effective_conv2d=True, target_modules=r'.*\.convolution')),
    'bert-lokr': ('bert-classify', of(LoKrConfig, r=2, alpha=3, decompose_both=True, decompose_factor=8, target_modules=['query', 'output.dense'])),
    'llama-lokr': ('llama3-classify', of(LoKrConfig, r=8, target_modules='all-linear')),
    'resnet-lokr': ('resnet-basic', of(LoKrConfig, r=1, target_modules=r'.*\.convolution')),
    'resnet-lokr-effective': ('resnet-basic', of(LoKrConfig, r=1, decompose_factor=2, use_effective_conv2d=True, init_weights='lycoris', target_modules=r'.*\.convolution')),
    'bert-poly': ('bert-classify', of(PolyConfig, r=2, n_tasks=3, n_skills=3, n_splits=2, target_modules=['query', 'output.dense'])),
    'llama-poly': ('llama3-classify', of(PolyConfig, r=2, n_tasks=4, n_skills=2)),
}
# Of these AdaLoRA has pruned triplets: as many of every module as its place in the sequence says.
PRUNED = {'llama-adalora': [3, 1, 0, 2]}


def base_of(checkpoint):
    """A small model with its golden inputs, and its task in PEFT."""
    golden = json.loads((HERE / 'models' / f'{checkpoint}.json').read_text())
    cls, task = CLASSES[golden['head']] if 'input_ids' in golden else (AutoModelForImageClassification, None)
    return cls.from_pretrained(HERE / 'models' / checkpoint, attn_implementation='eager' if 'input_ids' in golden else None), golden, task


@torch.no_grad()
def logits_of(model, golden, task):
    """At positions that are not padding. Row i is of task i mod 3."""
    if 'input_ids' not in golden:
        centred = (torch.tensor(golden['pixels']).reshape(golden['shape']) - torch.tensor(MEAN)) / torch.tensor(STD)
        return model(centred.permute(0, 3, 1, 2)).logits
    mask = torch.tensor(golden['attention_mask'])
    routed = {'task_ids': torch.arange(len(mask)) % 3} if isinstance(model.active_peft_config, PolyConfig) else {}
    z = model(input_ids=torch.tensor(golden['input_ids']), attention_mask=mask, **routed).logits
    return z if task == TaskType.SEQ_CLS else z[:, z.shape[1] - mask.shape[1]:][mask.bool()]


def main(names):
    known = OUT / 'logits.json'
    logits = json.loads(known.read_text()) if known.exists() else {}
    for index, (name, (checkpoint, config)) in enumerate(CASES.items()):
        if names and name not in names:
            continue
        shutil.rmtree(OUT / name, ignore_errors=True)
        torch.manual_seed(index)
        base, golden, task = base_of(checkpoint)
        model = get_peft_model(base, config(task)).eval()
        with torch.no_grad():
            for parameter in (p for p in model.parameters() if p.requires_grad):
                parameter.copy_(torch.randn(parameter.shape) * 0.3)
        if name in PRUNED:
            prune(model, PRUNED[name])
        z = logits_of(model, golden, task)
        model.save_pretrained(OUT / name)
        (OUT / name / 'README.md').unlink()
        edit(OUT / name / 'adapter_config.json')
        logits[name] = {'checkpoint': checkpoint, 'logits': [float(f'{v:.7g}') for v in z.flatten().tolist()]}
    known.write_text(json.dumps(logits) + '\n')


def prune(model, ranks):
    """Zeroes the last triplets of each module and records which are left, as at the end of a training."""
    config, pattern = model.active_peft_config, {}
    for rank, (name, E) in zip(ranks, [(n, p) for n, p in model.base_model.model.named_parameters() if 'lora_E' in n]):
        kept = [k < rank for k in range(len(E))]
        E.data[~torch.tensor(kept)] = 0
        pattern[name] = kept
    config.rank_pattern = pattern


def verify(folder):
    """Logits of what graft wrote, beside those of what PEFT wrote."""
    expected, worst = json.loads((OUT / 'logits.json').read_text()), 0
    for path in sorted(p for p in folder.iterdir() if (p / 'adapter_config.json').exists()):
        base, golden, task = base_of(expected[path.name]['checkpoint'])
        model = PeftModel.from_pretrained(base, path).eval()
        try:
            z = logits_of(model, golden, task).flatten()
        except ValueError as error:  # transformers 5.24 gives encoders no past keys any more, which prefixes are
            print(f'{path.name:24}{error}')
            continue
        right = torch.tensor(expected[path.name]['logits'])
        off = ((z - right).abs().max() / right.abs().max().clamp(min=1)).item()
        worst = max(worst, off)
        print(f'{path.name:24}{off:10.1e}')
    sys.exit(worst > 1e-5)


def edit(path):
    """Leaves out where the base lay."""
    config = json.loads(path.read_text())
    config['base_model_name_or_path'] = None
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + '\n')


arguments = argparse.ArgumentParser()
arguments.add_argument('names', nargs='*', metavar='NAME', help='default: all')
arguments.add_argument('--verify', type=Path, metavar='DIR')
given = arguments.parse_args()
verify(given.verify) if given.verify else main(given.names)
