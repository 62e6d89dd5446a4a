"""WideResNet: the published sizes and the order of operations."""
import pytest
import torch
from public_networks import PublicWideResNet
from torch import nn

from tadfkd.backbones import WideResNet
from tadfkd.classifiers.build import build_classifier
from tadfkd.errors import UserError


def classifier(depth: int = 10, widen_factor: int = 1) -> dict:
    """A model dict."""
    return dict(
        type='ImageClassifier',
        backbone=dict(
            type='tadfkd.WideResNet', depth=depth, widen_factor=widen_factor),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='LinearClsHead',
            num_classes=10,
            in_channels=64 * widen_factor),
        data_preprocessor=dict(mean=[120.0] * 3, std=[60.0] * 3, to_rgb=False))


def count_by_hand(depth: int, factor: int) -> int:
    """Weights of the paper's table 1, batch norm and the classifier."""
    total, channels = 27 * 16, 16
    for width in (16 * factor, 32 * factor, 64 * factor):
        for _ in range((depth - 4) // 6):
            total += 2 * channels + 9 * channels * width
            total += 2 * width + 9 * width * width
            total += channels * width if channels != width else 0
            channels = width
    return total + 2 * channels + 10 * channels + 10


# Millions, as the literature on distillation quotes them for CIFAR-10.
@pytest.mark.parametrize('depth, factor, millions', [(16, 1, 0.17),
                                                     (40, 1, 0.56),
                                                     (16, 2, 0.69),
                                                     (40, 2, 2.2)])
def test_the_numbers_of_parameters_are_the_published_ones(
        depth: int, factor: int, millions: float) -> None:
    network = build_classifier(classifier(depth, factor))
    found = sum(parameter.numel() for parameter in network.parameters())
    assert found == count_by_hand(depth, factor)
    assert found / 1e6 == pytest.approx(millions, rel=0.03)


def test_it_gives_one_activated_map_at_a_quarter_of_the_size() -> None:
    features, = WideResNet(16, 2, in_channels=1)(torch.randn(2, 1, 32, 24))
    assert features.shape == (2, 128, 8, 6)
    assert features.min() == 0
    # About half of the values: nothing is added after the last ReLU.
    assert 0.2 < (features == 0).float().mean() < 0.8


@pytest.mark.parametrize('transition', ['activated', 'input'])
def test_it_computes_what_public_code_does(transition: str) -> None:
    source = PublicWideResNet(
        depth=16, factor=2, layers=transition == 'input').double()
    backbone = WideResNet(16, 2, transition=transition).double().eval()
    names = {'block1': 'layer1', 'block2': 'layer2', 'block3': 'layer3'}
    weights = {}
    for key, value in source.state_dict().items():
        key = key.replace('.layer.', '.').replace('convShortcut', 'shortcut')
        key = key.replace('shortcut.0', 'shortcut')
        weights[names.get(key[:6], key[:6]) + key[6:]] = value
    del weights['fc.weight'], weights['fc.bias']
    backbone.load_state_dict(weights)
    images = torch.randn(3, 3, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        found = source.fc(backbone(images)[0].mean((2, 3)))
        torch.testing.assert_close(found, source(images), rtol=0, atol=1e-9)


def test_the_initialisation_keeps_the_scale_of_activations() -> None:
    backbone = WideResNet(16, 4)
    nn.init.zeros_(backbone.layer2[0].conv1.weight)
    nn.init.zeros_(backbone.bn1.weight)
    backbone.init_weights()
    weight = backbone.layer2[0].conv1.weight
    # He et al. 2015 with fan-out: 128 output channels of 3x3.
    assert weight.std().item() == pytest.approx((2 / (128 * 9))**0.5, rel=0.02)
    assert (backbone.bn1.weight == 1).all()
    assert (backbone.bn1.bias == 0).all()


@pytest.mark.parametrize('options, message', [
    (dict(depth=18), 'depth must be 6n \\+ 4'),
    (dict(depth=4), 'depth must be 6n \\+ 4'),
    (dict(widen_factor=0), 'widen_factor must be a whole number >= 1'),
    (dict(transition='late'), "transition must be 'activated' or 'input'"),
])
def test_networks_that_do_not_exist_are_refused(options: dict,
                                                message: str) -> None:
    with pytest.raises(UserError, match=message):
        WideResNet(**(dict(depth=16, widen_factor=1) | options))
