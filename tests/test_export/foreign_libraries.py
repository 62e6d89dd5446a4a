"""Classifies images by every file of a student, without tadfkd.

Usage: foreign_libraries.py STUDENT_DIR IMAGES.npy
"""
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import safetensors.torch
import torch
from mmpretrain import get_model
from mmpretrain.registry import MODELS

folder = Path(sys.argv[1])
images_BCHW = np.load(sys.argv[2])
description = json.loads((folder / 'config.json').read_text())

exported = torch.export.load(folder / 'student.pt2').module()
scripted = torch.jit.load(folder / 'student.ts.pt')
session = onnxruntime.InferenceSession(folder / 'student.onnx')
plain = MODELS.build(description['architecture']).eval()
plain.load_state_dict(
    safetensors.torch.load_file(folder / 'model.safetensors'))
packaged = get_model(
    str(folder / 'student_mmpretrain.py'),
    pretrained=str(folder / 'student.pth'))
assert packaged._dataset_meta['classes'] == [*'0123456789']


def from_safetensors(images_BCHW: torch.Tensor) -> torch.Tensor:
    mean, std = (
        torch.tensor(description[name])[:, None, None]
        for name in ('mean', 'std'))
    return plain((images_BCHW - mean) / std, mode='tensor')


def from_mmpretrain(images_BCHW: torch.Tensor) -> torch.Tensor:
    return packaged(
        packaged.data_preprocessor(dict(inputs=images_BCHW * 255))['inputs'],
        mode='tensor')


def by_all(images_BCHW: np.ndarray) -> dict[str, Any]:
    tensor_BCHW = torch.from_numpy(images_BCHW)
    logits: dict[str, Any] = dict(
        onnx=session.run(None, dict(images=images_BCHW))[0])
    with torch.no_grad():
        logits |= {
            'torch.export': exported(tensor_BCHW),
            'torchscript': scripted(tensor_BCHW),
            'safetensors': from_safetensors(tensor_BCHW),
            'mmpretrain': from_mmpretrain(tensor_BCHW)
        }
    return {name: value.tolist() for name, value in logits.items()}


five, one = by_all(images_BCHW), by_all(images_BCHW[:1])
assert 'tadfkd' not in sys.modules
print(json.dumps(dict(five=five, one=one)))
