"""Golden merges: tiny Llama checkpoints and what mergekit (0.1.5) makes of them by the configurations beside it.

    python test/golden/merging.py        writes test/golden/mergekit/{base,a,b}/ and <configuration>.safetensors
"""
import json, os, pathlib, shutil, tempfile
import torch, yaml
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM
from mergekit.config import MergeConfiguration
from mergekit.merge import run_merge
from mergekit.options import MergeOptions

here = pathlib.Path(__file__).parent / "mergekit"
os.chdir(here)
config = LlamaConfig(vocab_size=12, hidden_size=8, intermediate_size=10, num_hidden_layers=3, num_attention_heads=2,
                     num_key_value_heads=1, max_position_embeddings=16, initializer_range=0.5, dtype="float32",
                     architectures=["LlamaForCausalLM"])
torch.manual_seed(0)
start = LlamaForCausalLM(config)
for i, name in enumerate(["base", "a", "b"]):
    torch.manual_seed(i)
    model = LlamaForCausalLM(config)
    state = {k: (v + (0.1 * torch.randn_like(v) if i else 0)).contiguous() for k, v in start.state_dict().items()}
    pathlib.Path(name).mkdir(exist_ok=True)
    save_file(state, f"{name}/model.safetensors", {"format": "pt"})
    # Keys as older transformers writes them: mergekit and graft read both.
    kept = {k: v for k, v in config.to_dict().items() if k in ("model_type", "architectures", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
            "num_attention_heads", "num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "hidden_act", "tie_word_embeddings")}
    json.dump({**kept, "torch_dtype": "float32", "rope_theta": 10000.0}, open(f"{name}/config.json", "w"), indent=1)

for path in sorted(pathlib.Path(".").glob("*.yml")):
    recipe = MergeConfiguration.model_validate(yaml.safe_load(path.read_text()))
    with tempfile.TemporaryDirectory() as out:
        run_merge(recipe, out, MergeOptions(copy_tokenizer=False, lazy_unpickle=False, write_model_card=False))
        shutil.copy(next(pathlib.Path(out).glob("*.safetensors")), path.with_suffix(".safetensors"))
        print(path, json.load(open(f"{out}/config.json"))["num_hidden_layers"])
