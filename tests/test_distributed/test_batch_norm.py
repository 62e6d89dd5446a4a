"""Batch norm over the samples of two processes equals that of one process."""
import functools
import itertools

import torch
from mmengine.dist import get_rank
from torch import distributed, nn
from two_processes import in_two_processes

from tadfkd.distributed.batch_norm import synchronize_batch_norms

LAYERS = {(6, ): nn.BatchNorm1d, (6, 4, 5): nn.BatchNorm2d}
SIZES = (2, 5)


def compare() -> None:
    """Two forward and backward passes of unequal batches, in float64."""
    rank = get_rank()
    close = functools.partial(torch.testing.assert_close, rtol=0, atol=1e-12)
    for (shape,
         kind), affine, momentum in itertools.product(LAYERS.items(),
                                                      (True, False),
                                                      (0.1, None)):
        batch = (torch.randn(7, *shape) * 3 + 5).double()
        weights = torch.randn(7, *shape).double()
        expected, layer = (
            kind(6, affine=affine, momentum=momentum, dtype=torch.float64)
            for _ in range(2))
        if affine:
            nn.init.normal_(expected.weight)
        layer.load_state_dict(expected.state_dict())
        synchronize_batch_norms(layer)

        whole = batch.clone().requires_grad_()
        own = batch.split(SIZES)[rank].clone().requires_grad_()
        for _ in range(2):
            output, found = expected(whole), layer(own)
            (output * weights).sum().backward()
            (found * weights.split(SIZES)[rank]).sum().backward()
        close(found, output.split(SIZES)[rank])
        close(own.grad, whole.grad.split(SIZES)[rank])
        close(dict(layer.named_buffers()), dict(expected.named_buffers()))
        for name, parameter in expected.named_parameters():
            # Each process has the gradient of its own samples.
            gradient = getattr(layer, name).grad
            distributed.all_reduce(gradient)
            close(gradient, parameter.grad)


def test_two_processes_equal_one() -> None:
    in_two_processes(compare)
