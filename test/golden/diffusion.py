"""Makes the checkpoints and expected outputs of test/models/unet.test.ts and test/diffusion: small random networks of diffusers, and its schedulers.

Run with torch and diffusers installed:
    python test/golden/diffusion.py
writes test/golden/models/unet-*/{config.json,model.safetensors}, unet-*.json (an input, the time, rows of the table of conditions and the
noise predicted) and test/golden/schedulers.json (steps of DDPM and DDIM from a given prediction).
"""
import json, pathlib

import diffusers, torch
from safetensors.torch import save_file

torch.set_num_threads(1)
HERE = pathlib.Path(__file__).parent / 'models'


def rounded(t):
    return [float(f'{v:.7g}') for v in t.flatten().tolist()]


def randomise(model, seed):
    """Weights that keep the scale of what they act on, so that a misplaced one shows; norms near 1."""
    g = torch.Generator().manual_seed(seed)
    for name, t in model.state_dict().items():
        noise = torch.randn(t.shape, generator=g)
        if t.dim() > 1:
            noise *= 0.8 / t[0].numel() ** 0.5
        else:
            noise = noise * 0.2 + (1 if 'norm' in name and name.endswith('weight') else 0)
        t.copy_(noise)
    return model.eval()


def unet(name, seed, size, rows=0, **config):
    model = diffusers.UNet2DConditionModel(sample_size=size, **config)
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        randomise(model, seed)
        channels, cross = model.config.in_channels, model.config.cross_attention_dim
        x, t = torch.randn(2, channels, size, size, generator=g), torch.tensor([3, 417])
        table, ids = torch.randn(max(rows, 1), cross, generator=g), torch.tensor([[0, 2], [3, 3]]) if rows else torch.zeros(2, 1, dtype=torch.long)
        context = table[ids]
        y = model(x, t, context).sample
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    given = {k: v for k, v in json.loads(model.to_json_string()).items() if not k.startswith('_')}
    labels = {'id2label': {i: n for i, n in enumerate(['red', 'green', 'blue'][:rows - 1])}} if rows else {}
    (folder / 'config.json').write_text(json.dumps({'_class_name': 'UNet2DConditionModel', **given, **labels}, indent=2, sort_keys=True) + '\n')
    weights = dict(model.state_dict())
    if rows:
        weights['cond_stage_model.embedding.weight'] = table
    save_file({k: v.contiguous() for k, v in weights.items()}, folder / 'model.safetensors', {'format': 'pt'})
    nhwc = lambda v: rounded(v.permute(0, 2, 3, 1))
    record = {'shape': [2, size, size, channels], 'x': nhwc(x), 't': t.tolist(), **({'ids': ids.tolist()} if rows else {}), 'logits': nhwc(y)}
    (HERE / f'{name}.json').write_text(json.dumps(record, separators=(',', ':')) + '\n')


def schedulers():
    """Every step from pure noise down, the prediction a fixed function of x_t, the noise of DDPM given."""
    out = {}
    g = torch.Generator().manual_seed(0)
    x0, noises = torch.randn(1, 1, 2, 3, generator=g), torch.randn(10, 1, 1, 2, 3, generator=g)
    for schedule in ('linear', 'scaled_linear', 'squaredcos_cap_v2'):
        common = dict(num_train_timesteps=60, beta_start=1e-3, beta_end=0.1, beta_schedule=schedule, clip_sample=True, timestep_spacing='leading')
        ddpm, ddim = diffusers.DDPMScheduler(**common), diffusers.DDIMScheduler(**common, set_alpha_to_one=True, steps_offset=0)
        record = {'alphas': rounded(ddpm.alphas_cumprod)}
        for name, scheduler, extra in (('ddpm', ddpm, {}), ('ddim', ddim, {}), ('ddim-eta', ddim, {'eta': 0.7})):
            scheduler.set_timesteps(10)
            x, states = x0, []
            for i, t in enumerate(scheduler.timesteps):
                noise = noises[i]
                if name == 'ddpm':
                    # The scheduler draws its own noise: it is handed ours by standing in for the function that draws.
                    draw = diffusers.schedulers.scheduling_ddpm.randn_tensor
                    diffusers.schedulers.scheduling_ddpm.randn_tensor = lambda *a, **k: noise
                    x = scheduler.step(0.8 * x + 0.1, t, x).prev_sample
                    diffusers.schedulers.scheduling_ddpm.randn_tensor = draw
                else:
                    x = scheduler.step(0.8 * x + 0.1, t, x, use_clipped_model_output=True, variance_noise=noise if extra else None, **extra).prev_sample
                states.append(rounded(x))
            record[name] = {'t': scheduler.timesteps.tolist(), 'x': states}
        out[schedule] = record
    out['x0'], out['noises'] = rounded(x0), [rounded(n) for n in noises]
    (HERE.parent / 'schedulers.json').write_text(json.dumps(out, separators=(',', ':')) + '\n')


if __name__ == '__main__':
    small = dict(in_channels=3, out_channels=3, block_out_channels=(8, 12), layers_per_block=1, norm_num_groups=4)
    unet('unet-attends', 1, 8, rows=4, down_block_types=('DownBlock2D', 'CrossAttnDownBlock2D'), up_block_types=('CrossAttnUpBlock2D', 'UpBlock2D'), cross_attention_dim=6, attention_head_dim=2, **small)
    unet('unet-linear', 2, 8, rows=4, down_block_types=('CrossAttnDownBlock2D', 'DownBlock2D'), up_block_types=('UpBlock2D', 'CrossAttnUpBlock2D'), mid_block_type='UNetMidBlock2D',
         cross_attention_dim=10, attention_head_dim=(1, 3), use_linear_projection=True, **dict(small, layers_per_block=2, in_channels=1, out_channels=1))
    unet('unet-plain', 3, 8, down_block_types=('DownBlock2D', 'DownBlock2D', 'DownBlock2D'), up_block_types=('UpBlock2D', 'UpBlock2D', 'UpBlock2D'), mid_block_type=None, cross_attention_dim=2,
         **dict(small, block_out_channels=(4, 8, 12)))
    schedulers()
