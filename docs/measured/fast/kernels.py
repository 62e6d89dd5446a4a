"""Times of three operations that a step of TA-DFKD is made of, in turn with
what torch and oneDNN would do."""
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.records import write_record
from tadfkd.networks.channel_statistics import channel_statistics
from tadfkd.networks.small_maps import use_small_map_gradients

IMAGES = 64


def milliseconds(*functions: Callable[[], object]) -> list[float]:
    """The median of 15 calls of each, in turn."""
    times: list[list[float]] = [[] for _ in functions]
    for function in functions:
        function()
    for _ in range(15):
        for function, row in zip(functions, times):
            start = time.perf_counter()
            function()
            row.append(1000 * (time.perf_counter() - start))
    return [statistics.median(row) for row in times]


def last(*shape: int) -> Tensor:
    """Normal numbers in bfloat16, with channels last."""
    return torch.randn(shape).bfloat16().to(memory_format=torch.channels_last)


def batch_statistics() -> list[float]:
    """Of 64 channels at 32x32."""
    images = last(IMAGES, 64, 32, 32)
    return milliseconds(
        lambda: torch.var_mean(images.float(), (0, 2, 3), correction=0),
        lambda: channel_statistics(images))


def weight_gradient() -> list[float]:
    """Forward and backward of 512 channels at 4x4, without the images'
    gradient."""
    images = last(IMAGES, 512, 4, 4)
    layers = [nn.Conv2d(512, 512, 3, padding=1, bias=False) for _ in range(2)]
    for layer in layers:
        layer.bfloat16().to(memory_format=torch.channels_last)
    use_small_map_gradients(layers[1])

    def train(layer: nn.Module) -> None:
        layer(images).sum().backward()

    return milliseconds(*(partial(train, layer) for layer in layers))


def batch_size() -> list[float]:
    """A convolution's first call for a number of images, and its next."""
    weight = last(256, 256, 3, 3)
    first, again = [], []
    for count in range(IMAGES, IMAGES + 15):
        images = last(count, 256, 8, 8)
        for row in first, again:
            start = time.perf_counter()
            F.conv2d(images, weight, padding=1)
            row.append(1000 * (time.perf_counter() - start))
    return [statistics.median(first), statistics.median(again)]


if __name__ == '__main__':
    found = {
        'batch statistics: var_mean, ours': batch_statistics(),
        'forward and weight gradient at 4x4: oneDNN, ours': weight_gradient(),
        'a new number of images: first call, second call': batch_size()
    }
    for name, row in found.items():
        print(name, [f'{value:.2f} ms' for value in row])
    write_record(
        'docs/measured/fast/kernels.json',
        dict(
            command='python docs/measured/fast/kernels.py',
            threads=torch.get_num_threads(),
            milliseconds=found))
