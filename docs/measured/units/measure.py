"""Give `tadfkd check` right and wrong normalisations of the digits.

It writes record.json beside this file. Usage: python measure.py
"""
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.records import write_record
from tadfkd.apis import check_teacher
from tadfkd.datasets import Digits

#: Mean and deviation of the training images, in units of [0, 255].
MEAN, STD = 77.7, 81.2
NORMALISATIONS = {
    'right': (MEAN, STD, 255),
    'right, in units of [0, 1]': (MEAN / 255, STD / 255, 1),
    'a guess: 127.5 and 127.5': (127.5, 127.5, 255),
    'divided by 255 only': (0, 255, 255),
    'not normalised': (0, 1, 255),
    'units of [0, 1] taken as [0, 255]': (MEAN / 255, STD / 255, 255),
    'units of [0, 255] taken as [0, 1]': (MEAN, STD, 1),
}


def network(with_bn: bool) -> nn.Module:
    """Seven layers with weights: six convolutions and a classifier."""
    layers: list[nn.Module] = []
    channels = 1
    for width, stride in ((8, 1), (8, 1), (16, 2), (16, 1), (32, 2), (32, 1)):
        layers += [nn.Conv2d(channels, width, 3, stride, 1)]
        layers += [nn.BatchNorm2d(width)] if with_bn else []
        layers += [nn.ReLU()]
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(32, 10))


def digits(split: Any) -> tuple[Tensor, Tensor]:
    """images_BCHW in [0, 255], and labels_B."""
    items = Digits(split, 16).load_data_list()
    images_BHWC = np.stack([item['img'] for item in items])
    return (torch.from_numpy(images_BHWC).permute(0, 3, 1, 2).float(),
            torch.tensor([item['gt_label'] for item in items]))


def trained(with_bn: bool) -> nn.Module:
    torch.manual_seed(0)
    net = network(with_bn)
    images_BCHW, labels_B = digits('train')
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    for _ in range(200):
        chosen = torch.randint(len(labels_B), (64, ))
        loss = nn.functional.cross_entropy(
            net((images_BCHW[chosen] - MEAN) / STD), labels_B[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


@torch.no_grad()
def accuracy(net: nn.Module, mean: float, std: float, white: float) -> float:
    images_BCHW, labels_B = digits('test')
    logits_BK = net((images_BCHW * white / 255 - mean) / std)
    return round(100 * float((logits_BK.argmax(1) == labels_B).float().mean()),
                 2)


def check(net: nn.Module, mean: float, std: float,
          white: float) -> dict[str, Any]:
    """What `tadfkd check` says of mean and std."""
    report = check_teacher(
        dict(
            type='ModuleTeacher',
            factory=lambda: net,
            input_size=16,
            mean=[mean],
            std=[std],
            value_range=float(white)),
        batch_size=8,
        repeats=1)
    width = report.first_bn_width
    return dict(
        width=width and float(f'{width:.3g}'),
        verdict=report.verdict.partition(':')[0],
        sentences=[
            sentence for sentence in report.problems + report.notes
            if 'std' in sentence
        ])


def main() -> None:
    torch.set_num_threads(1)
    results: dict[str, Any] = {}
    for kind in ('batch norm', 'no batch norm'):
        net = trained(kind == 'batch norm')
        results[kind] = {}
        for name, values in NORMALISATIONS.items():
            results[kind][name] = dict(
                top1=accuracy(net, *values), **check(net, *values))
            print(kind, name, results[kind][name], flush=True)
    write_record(
        Path(__file__).with_name('record.json'),
        dict(
            command='sh docs/measured/units/run.sh', seed=0, teachers=results))


if __name__ == '__main__':
    main()
