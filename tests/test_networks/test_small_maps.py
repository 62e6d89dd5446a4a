"""A product of matrices gives the gradients of a convolution."""
import copy

import pytest
import torch
from mmengine.model import initialize
from torch import nn

from tadfkd.networks.small_maps import SmallMapConv2d, use_small_map_gradients


@pytest.mark.parametrize('arguments', [
    dict(kernel_size=3, padding=1),
    dict(kernel_size=3, padding=1, stride=2, bias=False),
    dict(kernel_size=1, stride=2),
    dict(kernel_size=(3, 2), padding=(0, 1), stride=(1, 2)),
])
@pytest.mark.parametrize('autocast', [True, False])
def test_gradients_are_those_of_a_convolution(arguments: dict,
                                              autocast: bool) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(6, 8, **arguments)
    if not autocast:
        plain.bfloat16()
    changed = copy.deepcopy(plain)
    use_small_map_gradients(changed)
    assert type(changed) is SmallMapConv2d
    images = torch.randn(5, 6, 4, 4)
    found = []
    for layer in plain, changed:
        inputs = images.to(layer.weight.dtype).requires_grad_()
        with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
            outputs = layer(inputs)
        assert outputs.dtype == torch.bfloat16
        (outputs.float()**2).sum().backward()
        found.append([inputs.grad, *(one.grad for one in layer.parameters())])
    assert '_Convolution' in str(outputs.grad_fn)
    for expected, mine in zip(*found):
        assert mine.dtype == expected.dtype
        difference = (mine - expected).float().norm()
        assert difference < 0.01 * expected.float().norm()


def test_weight_gradients_have_the_strides_of_the_weights() -> None:
    layer = nn.Conv2d(6, 8, 1, stride=2)
    use_small_map_gradients(layer)
    with torch.autocast('cpu', torch.bfloat16):
        layer(torch.randn(2, 6, 4, 4)).sum().backward()
    assert layer.weight.grad.stride() == layer.weight.stride()


@pytest.mark.parametrize('name', ['Conv2d', '_ConvNd'])
def test_an_init_cfg_finds_the_layers(name: str) -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 3))
    use_small_map_gradients(network)
    initialize(network, dict(type='Constant', layer=name, val=2.0))
    assert (network[0].weight == 2).all()


@pytest.mark.parametrize('shape', [(3, 4, 4), (2, 3, 4, 4)])
def test_an_image_without_batch_and_float64_go_the_usual_way(
        shape: tuple[int, ...]) -> None:
    layer = nn.Conv2d(3, 3, 3, padding=1)
    if len(shape) == 4:
        layer.double()
    plain = copy.deepcopy(layer)
    use_small_map_gradients(layer)
    images = torch.randn(shape, dtype=layer.weight.dtype)
    with torch.autocast('cpu', torch.bfloat16):
        found, expected = layer(images), plain(images)
    assert found.dtype == expected.dtype and found.equal(expected)


@pytest.mark.parametrize('width, is_half', [(8, True), (4, False)])
def test_others_go_the_usual_way(width: int, is_half: bool) -> None:
    layer = nn.Conv2d(3, 3, 3, padding=1)
    use_small_map_gradients(layer)
    with torch.autocast('cpu', torch.bfloat16, enabled=is_half):
        outputs = layer(torch.randn(2, 3, 4, width))
    assert '_Convolution' not in str(outputs.grad_fn)


def test_layers_that_a_product_does_not_fit_stay() -> None:
    network = nn.Sequential(
        nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 4, 3, dilation=2),
        nn.Conv2d(4, 4, 3, padding='same'),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode='circular'))
    use_small_map_gradients(network)
    assert all(type(layer) is nn.Conv2d for layer in network)
