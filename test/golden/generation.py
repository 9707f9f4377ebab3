"""Makes generation.json: what transformers generates with the small decoders of test/golden/models.

Run with torch and transformers installed: python test/golden/generation.py
Every prompt is generated alone, so that no padding takes part.
"""
import json, pathlib, warnings

import torch
import transformers as hf

warnings.filterwarnings('ignore')
hf.logging.set_verbosity_error()
torch.set_num_threads(1)
HERE = pathlib.Path(__file__).parent
PROMPTS = [[5, 9, 33, 12], [40], [7, 7, 21, 60, 3, 11, 8]]
CASES = {
    'greedy': dict(),
    'penalties': dict(repetition_penalty=1.3, no_repeat_ngram_size=2, min_new_tokens=6),
    'beam': dict(num_beams=3, num_return_sequences=3),
    'beam-long': dict(num_beams=3, num_return_sequences=2, length_penalty=2.0, early_stopping='never'),
    'beam-early': dict(num_beams=2, num_return_sequences=2, length_penalty=0.5, early_stopping=True, no_repeat_ngram_size=2),
}


def run(name):
    model = hf.AutoModelForCausalLM.from_pretrained(HERE / 'models' / name).eval()
    out = {}
    for case, options in CASES.items():
        rows = []
        for prompt in PROMPTS:
            given = torch.tensor([prompt])
            r = model.generate(given, attention_mask=torch.ones_like(given), max_new_tokens=9, do_sample=False, pad_token_id=1, return_dict_in_generate=True, output_scores=True, **options)
            eos = model.generation_config.eos_token_id
            texts = []
            for i, ids in enumerate(r.sequences.tolist()):
                ids = ids[len(prompt):]
                if eos in ids:
                    ids = ids[:ids.index(eos) + 1]
                texts.append({'ids': ids, **({'score': float(f'{r.sequences_scores[i]:.6g}')} if 'num_beams' in options else {})})
            rows.append(texts)
        out[case] = rows
    return out


def warped():
    """Probabilities that are drawn from, by the chain of transformers' warpers."""
    g = torch.Generator().manual_seed(3)
    logits = torch.randn(1, 30, generator=g) * 2
    p = hf.generation.logits_process
    chains = {
        'temperature 0.7 topK 12': [p.TemperatureLogitsWarper(0.7), p.TopKLogitsWarper(12)],
        'topP 0.8': [p.TopPLogitsWarper(0.8)],
        'temperature 1.5 topK 20 topP 0.9 minP 0.05': [p.TemperatureLogitsWarper(1.5), p.TopKLogitsWarper(20), p.TopPLogitsWarper(0.9), p.MinPLogitsWarper(0.05)],
        'typical 0.6': [p.TypicalLogitsWarper(0.6)],
    }
    out = {}
    for name, chain in chains.items():
        z = logits.clone()
        for w in chain:
            z = w(None, z)
        out[name] = [float(f'{x:.7g}') for x in z.softmax(-1)[0].tolist()]
    return {'logits': [float(f'{x:.8g}') for x in logits[0].tolist()], 'probabilities': out}


json.dump({'prompts': PROMPTS, 'options': CASES, 'models': {n: run(n) for n in ['llama-clm', 'gpt2-clm', 'qwen2-clm']}, 'warped': warped()}, open(HERE / 'generation.json', 'w'))
