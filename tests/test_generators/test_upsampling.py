"""The generator of the DAFL family."""
import io

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tadfkd.errors import UserError
from tadfkd.generators import UpsamplingGenerator

HEADS = ['sigmoid', 'batch_norm', 'tanh_batch_norm']


def norms(generator: nn.Module) -> list[nn.BatchNorm2d]:
    return [
        module for module in generator.modules()
        if isinstance(module, nn.BatchNorm2d)
    ]


@pytest.mark.parametrize('head', HEADS)
@pytest.mark.parametrize('channels, width', [(1, 1), (3, 6)])
@pytest.mark.parametrize('size', [8, 16, 28, 32, (12, 20)])
def test_images_have_the_size_asked_for_and_lie_in_0_and_1(
        size: int | tuple[int, int], channels: int, width: int,
        head: str) -> None:
    generator = UpsamplingGenerator(5, size, channels, width, head)
    # Large latents drive an unbounded output far out of the range.
    images_BCHW = generator(100 * torch.randn(4, 5))
    height, width_ = (size, size) if isinstance(size, int) else size
    assert images_BCHW.shape == (4, channels, height, width_)
    assert images_BCHW.dtype == torch.float32
    assert images_BCHW.min() >= 0 and images_BCHW.max() <= 1
    assert images_BCHW.std() > 0.01


@pytest.mark.parametrize('size', [6, 30, 4, (8, 10), (4, 8)])
def test_a_size_that_cannot_be_reached_by_doubling_is_refused(
        size: object) -> None:
    with pytest.raises(UserError, match='divisible by 4') as caught:
        UpsamplingGenerator(5, size)
    assert f'got {size!r}' in str(caught.value)
    assert 'model.generator.image_size' in str(caught.value)


@pytest.mark.parametrize(
    'options', [
        dict(width=0),
        dict(bn_eps=0.0),
        dict(head='relu'),
        dict(image_channels=0)
    ],
    ids=str)
def test_a_bad_option_names_the_field_to_change(options: dict) -> None:
    name, = options
    with pytest.raises(UserError, match=f'set model.generator.{name}'):
        UpsamplingGenerator(5, 8, **options)


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
    generator = UpsamplingGenerator(
        5, (8, 12), 2, width, first_activation=first_activation)
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


@pytest.mark.parametrize('head', ['batch_norm', 'tanh_batch_norm'])
def test_the_batch_norm_head_has_mean_one_half_and_deviation_one_quarter(
        head: str) -> None:
    generator = UpsamplingGenerator(5, 16, 3, 8, head)
    images_BCHW = generator(torch.randn(16, 5))
    # Clamping at two standard deviations takes a little of both.
    mean_C = images_BCHW.mean((0, 2, 3))
    deviation_C = images_BCHW.std((0, 2, 3))
    torch.testing.assert_close(
        mean_C, torch.full((3, ), 0.5), rtol=0, atol=.05)
    torch.testing.assert_close(
        deviation_C, torch.full((3, ), 0.25), rtol=0, atol=0.05)


@pytest.mark.parametrize('head', HEADS)
def test_images_are_float32_under_autocast(head: str) -> None:
    generator = UpsamplingGenerator(5, 8, 3, 4, head).eval()
    latents_BZ = torch.randn(4, 5)
    with torch.no_grad():
        expected_BCHW = generator(latents_BZ)
        with torch.autocast('cpu', torch.bfloat16):
            images_BCHW = generator(latents_BZ)
    assert images_BCHW.dtype == torch.float32
    torch.testing.assert_close(images_BCHW, expected_BCHW, rtol=0, atol=0.05)
    # Autocast was at work before the head: the values are not the same.
    assert not torch.equal(images_BCHW, expected_BCHW)


@pytest.mark.parametrize('head', HEADS)
def test_gradients_reach_every_parameter_and_the_latents(head: str) -> None:
    generator = UpsamplingGenerator(5, 8, 3, 4, head)
    latents_BZ = torch.randn(6, 5, requires_grad=True)
    weights_BCHW = torch.randn(6, 3, 8, 8)
    (generator(latents_BZ) * weights_BCHW).sum().backward()
    assert latents_BZ.grad is not None and latents_BZ.grad.abs().sum() > 0
    for name, parameter in generator.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize('head', HEADS)
def test_in_eval_mode_a_latent_has_one_image_whatever_its_company(
        head: str) -> None:
    generator = UpsamplingGenerator(5, 8, 3, 4, head).eval()
    latents_BZ = torch.randn(6, 5)
    torch.testing.assert_close(
        generator(latents_BZ)[:1], generator(latents_BZ[:1]))


@pytest.mark.parametrize('head, tanh', [('batch_norm', False),
                                        ('tanh_batch_norm', True)])
def test_the_batch_norm_heads_differ_by_the_tanh(head: str,
                                                 tanh: bool) -> None:
    generator = UpsamplingGenerator(5, 8, 2, 3, head)
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
        generator(latents_BZ).detach(),
        np.clip(0.5 + scaled / 4, 0, 1),
        rtol=1e-4,
        atol=1e-5)


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
        dict(first_activation=False),
        dict(spectral=True),
    ],
    ids=str)
def test_decoding_goes_on_from_any_encoded_features(options: dict) -> None:
    generator = UpsamplingGenerator(5, (8, 12), 2, 3, **options).eval()
    latents_BZ = torch.randn(4, 5)
    images_BCHW = generator(latents_BZ)
    encoded = generator.encode(latents_BZ)
    assert [tuple(features.shape) for features in encoded] == [(4, 6, 2, 3),
                                                               (4, 6, 4, 6),
                                                               (4, 3, 8, 12)]
    for features, start in zip(encoded, generator.feature_layers, strict=True):
        assert torch.equal(generator.decode(features, start), images_BCHW)
        # They are what an image depends on.
        other_BCHW = generator.decode(features.flip(0), start)
        torch.testing.assert_close(other_BCHW, images_BCHW.flip(0))


def test_features_end_with_an_activation() -> None:
    for features in UpsamplingGenerator(5, 8, 1, 3).encode(torch.randn(8, 5)):
        # What is negative was multiplied by 0.2 behind a batch norm.
        positive, negative = features[features > 0], features[features < 0]
        assert positive.numel() > 0 and negative.numel() > 0
        assert 0.1 < -negative.mean() / positive.mean() < 0.4


def spectral_generator() -> UpsamplingGenerator:
    generator = UpsamplingGenerator(5, 8, 2, 3, spectral=True)
    # Far from where power iteration began.
    for layer in generator.upsample:
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.parametrizations.weight.original, std=3)
    return generator


def test_convolutions_have_a_spectral_norm_of_1() -> None:
    generator = spectral_generator()
    for layer in generator.upsample:
        if isinstance(layer, nn.Conv2d):
            # In training each look at the weight iterates once.
            for _ in range(100):
                layer.weight.detach()
            layer.eval()
            matrix = layer.weight.detach().numpy().reshape(
                layer.out_channels, -1)
            largest = np.linalg.svd(matrix, compute_uv=False)[0]
            assert largest == pytest.approx(1, abs=1e-3)
    plain = UpsamplingGenerator(5, 8, 2, 3)
    assert not any('parametrizations' in name for name in plain.state_dict())


def test_power_iterations_are_in_the_state() -> None:
    generator, other = spectral_generator(), spectral_generator()
    for _ in range(3):
        generator(torch.randn(2, 5))
    names = [
        name for name in generator.state_dict() if name.endswith(('_u', '_v'))
    ]
    assert len(names) == 6
    file = io.BytesIO()
    torch.save(generator.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    # In training, where each forward iterates, and after it.
    for _ in range(3):
        latents_BZ = torch.randn(4, 5)
        assert torch.equal(other(latents_BZ), generator(latents_BZ))
    generator.eval()
    assert torch.equal(other.eval()(latents_BZ), generator(latents_BZ))


def test_evaluating_moves_no_power_iteration() -> None:
    generator = spectral_generator().eval()
    before = {
        name: value.clone()
        for name, value in generator.state_dict().items()
    }
    generator(torch.randn(4, 5))
    for name, value in generator.state_dict().items():
        assert torch.equal(value, before[name]), name
