"""Classify images by one file of a student, in a process without tadfkd.

Usage: python classify.py FORMAT STUDENT_DIR IMAGES.npy LOGITS.npy
"""
import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

# From here on, `import tadfkd` raises ModuleNotFoundError.
sys.modules['tadfkd'] = None


def plain_resnet18(width, num_classes):
    """The demo's student with the blocks of torchvision."""
    from torchvision.models.resnet import BasicBlock

    def stage(before, after, stride):
        shortcut = None if stride == 1 else nn.Sequential(
            nn.Conv2d(before, after, 1, stride, bias=False),
            nn.BatchNorm2d(after))
        return nn.Sequential(
            BasicBlock(before, after, stride, shortcut),
            BasicBlock(after, after))

    parts = {
        'backbone.conv1': nn.Conv2d(1, width, 3, padding=1, bias=False),
        'backbone.bn1': nn.BatchNorm2d(width),
        'relu': nn.ReLU(),
        'backbone.layer1': stage(width, width, 1),
        'backbone.layer2': stage(width, 2 * width, 2),
        'backbone.layer3': stage(2 * width, 4 * width, 2),
        'backbone.layer4': stage(4 * width, 8 * width, 2),
        'pool': nn.AdaptiveAvgPool2d(1),
        'flatten': nn.Flatten(),
        'head.fc': nn.Linear(8 * width, num_classes),
    }
    return nn.Sequential(*parts.values()), list(parts)


def by_safetensors(folder, images_BCHW):
    from safetensors.torch import load_file
    description = json.loads((folder / 'config.json').read_text())
    width = description['architecture']['backbone']['base_channels']
    net, names = plain_resnet18(width, description['num_classes'])
    prefixes = {name: str(index) for index, name in enumerate(names)}
    net.load_state_dict({
        f'{prefixes[prefix]}{name.removeprefix(prefix)}': value
        for name, value in load_file(folder / 'model.safetensors').items()
        for prefix in names if name.startswith(f'{prefix}.')
    })
    mean, std = (
        torch.tensor(description[name])[:, None, None]
        for name in ('mean', 'std'))
    return net.eval()((images_BCHW - mean) / std)


def by_torch_export(folder, images_BCHW):
    program = torch.export.load(folder / 'student.pt2')
    return program.module()(images_BCHW)


def by_onnx(folder, images_BCHW, file='student.onnx'):
    import onnxruntime
    session = onnxruntime.InferenceSession(
        folder / file, providers=['CPUExecutionProvider'])
    return session.run(None, dict(images=images_BCHW.numpy()))[0]


def by_onnx_int8(folder, images_BCHW):
    return by_onnx(folder, images_BCHW, 'student.int8.onnx')


def by_torchscript(folder, images_BCHW):
    return torch.jit.load(folder / 'student.ts.pt')(images_BCHW)


def by_mmpretrain(folder, images_BCHW):
    from mmpretrain import get_model
    net = get_model(
        str(folder / 'student_mmpretrain.py'),
        pretrained=str(folder / 'student.pth'))
    inputs = dict(inputs=255 * images_BCHW)
    return net(net.data_preprocessor(inputs)['inputs'], mode='tensor')


READERS = {
    'safetensors': by_safetensors,
    'torch.export': by_torch_export,
    'onnx': by_onnx,
    'onnx-int8': by_onnx_int8,
    'torchscript': by_torchscript,
    'mmpretrain': by_mmpretrain,
}

if __name__ == '__main__':
    form, folder, images, logits = sys.argv[1:]
    with torch.no_grad():
        logits_BK = READERS[form](Path(folder),
                                  torch.from_numpy(np.load(images)))
    np.save(logits, logits_BK)
