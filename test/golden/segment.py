"""Makes the checkpoints and expected outputs of test/models/segment.test.ts: small random networks with heads that segment.

Run with torch, transformers and safetensors installed:
    python test/golden/segment.py
writes test/golden/models/{vit,resnet}-segment/ and test/golden/models/{vit,resnet}-segment.json: images, logits of the size of the image, and the
names and shapes of the head's tensors. The head of the ViT is transformers' SegformerDecodeHead over the patches of its blocks; that of the ResNet is
put together here from PyTorch's modules. Beside the logits stand gradients of the mean
cross-entropy with respect to some of the weights.
"""
import json

import torch
import torch.nn.functional as F
import transformers as hf
from safetensors.torch import load_file, save_file
from torch import nn
from transformers.models.segformer.modeling_segformer import SegformerDecodeHead

from models import HERE, IMAGENET, images, randomise, rounded

LABELS = dict(id2label={i: n for i, n in enumerate(['ground', 'tree', 'car', 'sky'])})
CLASSES = len(LABELS['id2label'])


class ViTForSemanticSegmentation(nn.Module):
    def __init__(self, config, width):
        super().__init__()
        self.vit = hf.ViTModel(config, add_pooling_layer=False)
        n = config.num_hidden_layers
        self.read = [-(-(i + 1) * n // 4) for i in range(4)]
        head = hf.SegformerConfig(num_encoder_blocks=4, hidden_sizes=[config.hidden_size] * 4, decoder_hidden_size=width, classifier_dropout_prob=0, **LABELS)
        self.decode_head = SegformerDecodeHead(head)

    def forward(self, pixel_values):
        out = self.vit(pixel_values, output_hidden_states=True)
        states = list(out.hidden_states)
        states[-1] = out.last_hidden_state
        n = int((states[0].shape[1] - 1) ** 0.5)
        maps = [states[i][:, 1:].transpose(1, 2).unflatten(2, (n, n)) for i in self.read]
        return F.interpolate(self.decode_head(tuple(maps)), size=pixel_values.shape[-2:], mode='bilinear', align_corners=False)


class ConvNorm(nn.Module):
    def __init__(self, i, o, kernel):
        super().__init__()
        self.convolution = nn.Conv2d(i, o, kernel, padding=kernel // 2, bias=False)
        self.normalization = nn.BatchNorm2d(o)

    def forward(self, x):
        return F.relu(self.normalization(self.convolution(x)))


class DeepLab(nn.Module):
    def __init__(self, low, high, width):
        super().__init__()
        detail = min(48, low)
        self.conv_pool, self.conv_aspp = ConvNorm(high, width, 1), ConvNorm(high, width, 3)
        self.conv_projection = ConvNorm(2 * width, width, 1)
        self.conv_low_level, self.conv_fuse = ConvNorm(low, detail, 1), ConvNorm(width + detail, width, 3)
        self.classifier = nn.ModuleDict(dict(convolution=nn.Conv2d(width, CLASSES, 1)))

    def forward(self, low, x):
        size = lambda t, like: F.interpolate(t, size=like.shape[-2:], mode='bilinear', align_corners=False)
        semantic = self.conv_projection(torch.cat([size(self.conv_pool(F.adaptive_avg_pool2d(x, 1)), x), self.conv_aspp(x)], 1))
        return self.classifier['convolution'](self.conv_fuse(torch.cat([size(semantic, low), self.conv_low_level(low)], 1)))


class ResNetForSemanticSegmentation(nn.Module):
    def __init__(self, config, width):
        super().__init__()
        self.resnet = hf.ResNetModel(config)
        self.segmentation_head = DeepLab(config.hidden_sizes[0], config.hidden_sizes[-1], width)

    def forward(self, pixel_values):
        states = self.resnet(pixel_values, output_hidden_states=True).hidden_states
        return F.interpolate(self.segmentation_head(states[1], states[-1]), size=pixel_values.shape[-2:], mode='bilinear', align_corners=False)


def filed(name):
    return name.replace('linear_projections', 'linear_c')


def write(name, model, config, width, inputs):
    with torch.no_grad():
        randomise(model, sum(map(ord, name)))
        if hasattr(model, 'resnet'):
            model.resnet.pooler = nn.Identity()
    head = [k for k, _ in model.named_parameters() if 'head' in k]
    labels = torch.arange(inputs['pixels'].shape[0] * inputs['pixels'].shape[1] * inputs['pixels'].shape[2]).reshape(inputs['pixels'].shape[:3]) % 7 % CLASSES
    logits = model(inputs['pixel_values'])
    F.cross_entropy(logits, labels).backward()
    parameters = dict(model.named_parameters())
    # The last of the head, one in its middle, and one far below.
    shown = [head[-1], head[0], next(k for k in parameters if 'weight' in k and parameters[k].dim() == 4)]
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    # Bodies are saved by transformers, whose names in files are not those in memory.
    body = next(k for k in ('vit', 'resnet') if hasattr(model, k))
    getattr(model, body).save_pretrained(folder)
    weights = {f'{body}.{k}': v for k, v in load_file(folder / 'model.safetensors').items()}
    weights |= {filed(k): v.contiguous() for k, v in model.state_dict().items() if 'head' in k}
    save_file({k: v for k, v in weights.items() if v.is_floating_point()}, folder / 'model.safetensors', {'format': 'pt'})
    (folder / 'config.json').write_text(json.dumps({**config.to_diff_dict(), 'architectures': [type(model).__name__], 'decoder_hidden_size': width}, indent=2) + '\n')
    record = {'head': 'segment', 'pixels': rounded(inputs['pixels']), 'shape': list(inputs['pixels'].shape), 'logits': rounded(logits.permute(0, 2, 3, 1)),
              'labels': labels.flatten().tolist(), 'gradients': {filed(k): rounded(parameters[k].grad) for k in shown},
              'headTensors': {filed(k): list(v.shape) for k, v in model.state_dict().items() if 'head' in k and v.is_floating_point()}}
    (HERE / f'{name}.json').write_text(json.dumps(record, separators=(',', ':')) + '\n')


vit = hf.ViTConfig(hidden_size=24, num_hidden_layers=6, num_attention_heads=4, intermediate_size=40, image_size=12, patch_size=4, **LABELS)
write('vit-segment', ViTForSemanticSegmentation(vit, 20), vit, 20, images(21, 12, *IMAGENET))
resnet = hf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 2], layer_type='basic', **LABELS)
write('resnet-segment', ResNetForSemanticSegmentation(resnet, 12), resnet, 12, images(22, 19, *IMAGENET))
