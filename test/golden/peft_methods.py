"""Adapters made by PEFT on the small checkpoints of test/golden/models, with random values, and the logits they give.

python test/golden/peft_methods.py    rewrites test/golden/peft-methods/<name>/ and test/golden/peft-methods/logits.json
"""
import json, shutil
from pathlib import Path
import torch
from peft import LoraConfig, PrefixTuningConfig, PromptTuningConfig, TaskType, get_peft_model
from transformers import AutoModelForCausalLM, AutoModelForImageClassification, AutoModelForSequenceClassification

torch.set_num_threads(1)
HERE = Path(__file__).parent
OUT = HERE / 'peft-methods'
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # what the ImageNet networks are fed
CLASSES = {'classify': (AutoModelForSequenceClassification, TaskType.SEQ_CLS), 'clm': (AutoModelForCausalLM, TaskType.CAUSAL_LM)}

lora = lambda **k: lambda task: LoraConfig(task_type=task, **k)
prefix = lambda **k: lambda task: PrefixTuningConfig(task_type=task, num_virtual_tokens=4, **k)
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
}


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    logits = {}
    for name, (checkpoint, config) in CASES.items():
        torch.manual_seed(len(logits))
        golden = json.loads((HERE / 'models' / f'{checkpoint}.json').read_text())
        cls, task = CLASSES[golden['head']] if 'input_ids' in golden else (AutoModelForImageClassification, None)
        model = get_peft_model(cls.from_pretrained(HERE / 'models' / checkpoint, attn_implementation='eager' if 'input_ids' in golden else None), config(task)).eval()
        with torch.no_grad():
            for parameter in (p for p in model.parameters() if p.requires_grad):
                parameter.copy_(torch.randn(parameter.shape) * 0.3)
            if 'input_ids' in golden:
                mask = torch.tensor(golden['attention_mask'])
                z = model(input_ids=torch.tensor(golden['input_ids']), attention_mask=mask).logits
                z = z if task == TaskType.SEQ_CLS else z[:, z.shape[1] - mask.shape[1]:][mask.bool()]
            else:
                centred = (torch.tensor(golden['pixels']).reshape(golden['shape']) - torch.tensor(MEAN)) / torch.tensor(STD)
                z = model(centred.permute(0, 3, 1, 2)).logits
        model.save_pretrained(OUT / name)
        (OUT / name / 'README.md').unlink()
        edit(OUT / name / 'adapter_config.json')
        logits[name] = {'checkpoint': checkpoint, 'logits': [float(f'{v:.7g}') for v in z.flatten().tolist()]}
    (OUT / 'logits.json').write_text(json.dumps(logits) + '\n')


def edit(path):
    """Leaves out where the base lay."""
    config = json.loads(path.read_text())
    config['base_model_name_or_path'] = None
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + '\n')


main()
