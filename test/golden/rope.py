"""Makes test/golden/rope.json: cos and sin of transformers' LlamaRotaryEmbedding for each rope_type, at a few positions.

Run with torch and transformers installed:
    python test/golden/rope.py
"""
import json, pathlib

import torch
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

DIM = 16
YARN = dict(rope_type='yarn', factor=4.0, original_max_position_embeddings=64)
# Each: config.json's keys as files have them, and the length of the sequence.
CASES = {
    'default': (dict(rope_theta=10000.0, max_position_embeddings=64), 64),
    'linear': (dict(rope_theta=10000.0, rope_scaling=dict(type='linear', factor=2.5), max_position_embeddings=160), 160),
    'dynamic, within the context': (dict(rope_theta=10000.0, rope_scaling=dict(rope_type='dynamic', factor=2.0), max_position_embeddings=64), 60),
    'dynamic, beyond it': (dict(rope_theta=10000.0, rope_scaling=dict(rope_type='dynamic', factor=2.0), max_position_embeddings=64), 100),
    'llama3': (dict(rope_theta=500.0, rope_scaling=dict(rope_type='llama3', factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                                        original_max_position_embeddings=64), max_position_embeddings=512), 512),
    'llama3, new keys': (dict(rope_parameters=dict(rope_type='llama3', rope_theta=10000.0, factor=4.0, low_freq_factor=1.0, high_freq_factor=2.0,
                                                   original_max_position_embeddings=128), max_position_embeddings=512), 512),
    'yarn': (dict(rope_theta=10000.0, rope_scaling=YARN, max_position_embeddings=256), 256),
    'yarn, not truncated': (dict(rope_parameters=dict(YARN, rope_theta=1000.0, truncate=False, beta_fast=16.0, beta_slow=2.0), max_position_embeddings=256), 256),
    'yarn, mscale': (dict(rope_theta=10000.0, rope_scaling=dict(YARN, mscale=1.0, mscale_all_dim=0.5), max_position_embeddings=256), 256),
    'yarn, attention factor': (dict(rope_theta=10000.0, rope_scaling=dict(YARN, attention_factor=1.25), max_position_embeddings=256), 256),
}


def main():
    out = {}
    for name, (config, length) in CASES.items():
        full = LlamaConfig(hidden_size=DIM * 2, num_attention_heads=2, **json.loads(json.dumps(config)))
        cos, sin = LlamaRotaryEmbedding(full)(torch.zeros(1, 1), torch.arange(length)[None])
        at = [1, 5, length - 1]
        values = {key: [float(f'{v:.8g}') for v in table[0, at].flatten().tolist()] for key, table in (('cos', cos), ('sin', sin))}
        out[name] = dict(config=config, length=length, positions=at, **values)
    path = pathlib.Path(__file__).parent / 'rope.json'
    path.write_text(json.dumps(dict(dim=DIM, cases=out), separators=(',', ':')) + '\n')


main()
