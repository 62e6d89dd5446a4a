"""The generator of the DAFL family."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tadfkd.errors import UserError
from tadfkd.generators import UpsamplingGenerator
from tadfkd.networks.capture import capture

HEADS = ['sigmoid', 'batch_norm', 'tanh_batch_norm']


def norms(generator: nn.Module) -> list[nn.BatchNorm2d]:
    return [
        module for module in generator.modules()
        if isinstance(module, nn.BatchNorm2d)
    ]


@pytest.mark.parametrize('head', HEADS)
@pytest.mark.parametrize('channels, width', [(1, 1), (3, 6)])
@pytest.mark.parametrize('size', [8, 28, (12, 20)])
def test_images_have_the_size_asked_for_and_vary(size: int | tuple[int, int],
                                                 channels: int, width: int,
                                                 head: str) -> None:
    generator = UpsamplingGenerator(5, size, channels, width=width, head=head)
    # Large latents drive an unbounded output far out of the range.
    images_BCHW = generator(100 * torch.randn(4, 5))
    height, width_ = (size, size) if isinstance(size, int) else size
    assert images_BCHW.shape == (4, channels, height, width_)
    assert images_BCHW.dtype == torch.float32
    if head == 'sigmoid':
        assert images_BCHW.min() >= 0 and images_BCHW.max() <= 1
    assert images_BCHW.std() > 0.01


@pytest.mark.parametrize(
    'options', [
        dict(image_size=6),
        dict(image_size=(8, 10)),
        dict(width=0),
        dict(bn_eps=0.0),
        dict(head='relu')
    ],
    ids=str)
def test_a_bad_option_names_the_field_to_change(options: dict) -> None:
    name, = options
    with pytest.raises(UserError, match=f'set model.generator.{name}'):
        UpsamplingGenerator(**dict(latent_size=5, image_size=8, width=2)
                            | options)


def test_bn_eps_is_that_of_the_second_and_third_batch_norm_only() -> None:
    generator = UpsamplingGenerator(5, 8, width=2, bn_eps=0.8)
    assert [norm.eps for norm in norms(generator)] == [1e-5, 0.8, 0.8]
    with_head = UpsamplingGenerator(
        5, 8, width=2, bn_eps=0.8, head='tanh_batch_norm')
    assert [norm.eps for norm in norms(with_head)] == [1e-5, 0.8, 0.8, 1e-5]


@pytest.mark.parametrize('first_activation', [True, False])
def test_the_layers_are_those_of_the_documented_diagram(
        first_activation: bool) -> None:
    width = 3
    # Public code has no activation there, so that is the default.
    option = dict(first_activation=True) if first_activation else {}
    generator = UpsamplingGenerator(5, (8, 12), 2, width=width, **option)
    convolutions = [
        module for module in generator.modules()
        if isinstance(module, nn.Conv2d)
    ]
    linear, = (
        module for module in generator.modules()
        if isinstance(module, nn.Linear))
    latents_BZ = torch.randn(4, 5)

    def normalise(x: Tensor) -> Tensor:
        mean = x.mean((0, 2, 3), keepdim=True)
        variance = x.var((0, 2, 3), unbiased=False, keepdim=True)
        return (x - mean) / (variance + 1e-5).sqrt()

    def double(x: Tensor) -> Tensor:
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    def convolve(x: Tensor, layer: nn.Conv2d) -> Tensor:
        return functional.conv2d(x, layer.weight, layer.bias, padding=1)

    def leak(x: Tensor) -> Tensor:
        return torch.where(x > 0, x, 0.2 * x)

    x = latents_BZ @ linear.weight.T + linear.bias
    x = normalise(x.view(4, 2 * width, 2, 3))
    if first_activation:
        x = leak(x)
    for layer in convolutions[:2]:
        x = leak(normalise(convolve(double(x), layer)))
    expected_BCHW = 1 / (1 + (-convolve(x, convolutions[2])).exp())
    torch.testing.assert_close(
        generator(latents_BZ), expected_BCHW, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('head', HEADS)
def test_images_are_float32_under_autocast(head: str) -> None:
    generator = UpsamplingGenerator(5, 8, width=4, head=head).eval()
    latents_BZ = torch.randn(4, 5)
    with torch.no_grad():
        expected_BCHW = generator(latents_BZ)
        with torch.autocast('cpu', torch.bfloat16):
            images_BCHW = generator(latents_BZ)
    assert images_BCHW.dtype == torch.float32
    torch.testing.assert_close(images_BCHW, expected_BCHW, rtol=0, atol=0.05)
    # Autocast was at work before the head: the values are not the same.
    assert not torch.equal(images_BCHW, expected_BCHW)


@pytest.mark.parametrize('head, tanh', [('batch_norm', False),
                                        ('tanh_batch_norm', True)])
def test_the_batch_norm_heads_differ_by_the_tanh(head: str,
                                                 tanh: bool) -> None:
    generator = UpsamplingGenerator(5, 8, 2, width=3, head=head)
    # As in public code, only the head without tanh is trained.
    assert len([*generator.head.parameters()]) == (0 if tanh else 2)
    latents_BZ = torch.randn(4, 5)
    # The head is asked with outputs large enough for the tanh to bend.
    last = generator.upsample[-1]
    assert isinstance(last, nn.Conv2d)
    nn.init.normal_(last.weight)
    values = convolved(generator, latents_BZ)
    values = np.tanh(values) if tanh else values
    centred = values - values.mean((0, 2, 3), keepdims=True)
    scaled = centred / np.sqrt(values.var((0, 2, 3), keepdims=True) + 1e-5)
    np.testing.assert_allclose(
        generator(latents_BZ).detach(), 0.5 + scaled / 4, rtol=1e-4, atol=1e-5)


def convolved(generator: UpsamplingGenerator,
              latents_BZ: Tensor) -> np.ndarray:
    """What enters the head."""
    with torch.no_grad():
        return generator.upsample(
            generator.project(latents_BZ)).double().numpy()


@pytest.mark.parametrize(
    'options', [
        {},
        dict(head='tanh_batch_norm'),
        dict(first_activation=True),
        dict(spectral=True),
    ],
    ids=str)
def test_decoding_goes_on_from_any_encoded_features(options: dict) -> None:
    generator = UpsamplingGenerator(5, (8, 12), 2, width=3, **options).eval()
    latents_BZ = torch.randn(4, 5)
    readers = [generator.upsample[layer] for layer in generator.feature_layers]
    with capture(readers, lambda _, inputs: inputs) as encoded:
        images_BCHW = generator(latents_BZ)
    assert [tuple(features.shape) for features in encoded] == [(4, 6, 2, 3),
                                                               (4, 6, 4, 6),
                                                               (4, 3, 8, 12)]
    for features, start in zip(encoded, generator.feature_layers, strict=True):
        assert torch.equal(generator.decode(features, start), images_BCHW)
        # They are what an image depends on.
        other_BCHW = generator.decode(features.flip(0), start)
        torch.testing.assert_close(other_BCHW, images_BCHW.flip(0))
