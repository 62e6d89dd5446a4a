"""Batch norm over the samples of two processes equals that of one process."""
import functools
import itertools

import torch
from mmengine.dist import get_rank
from torch import Tensor, distributed, nn
from two_processes import in_two_processes

from tadfkd.distributed.batch_norm import synchronize_batch_norms
from tadfkd.networks.freezing import frozen

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


class Activated(nn.BatchNorm2d):
    """A layer of another package, with its own forward."""

    def forward(self, input: Tensor) -> Tensor:
        """Batch norm and ReLU."""
        return super().forward(input).relu()


def check_special_layers() -> None:
    """Eval mode, half precision, and layers with their own forward."""
    layer = nn.BatchNorm2d(3)
    synchronize_batch_norms(layer)
    if get_rank() == 0:
        # An exchange would wait for the other process, and time out.
        with frozen(layer):
            layer(torch.rand(2, 3, 4, 4))

    images = torch.randn(2, 3, 4, 4).bfloat16().requires_grad_()
    layer(images).float().square().sum().backward()
    assert images.grad.dtype == torch.bfloat16
    assert layer.running_mean.dtype == torch.float32

    activated = Activated(3)
    synchronize_batch_norms(activated)
    assert type(activated) is Activated
    assert activated(torch.randn(2, 3, 4, 4)).min() == 0


def test_eval_mode_bfloat16_and_layers_with_their_own_forward() -> None:
    in_two_processes(check_special_layers)
