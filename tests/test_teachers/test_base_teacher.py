"""The frozen teacher, with small networks."""
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from tadfkd.errors import UserError
from tadfkd.networks.compiling import compile_in_place
from tadfkd.teachers import BaseTeacher

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


class MixedNorms(nn.Module):
    """Batch norm of maps and of vectors, then a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(),
            nn.Conv2d(4, 5, 3, stride=2), nn.BatchNorm2d(5), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.vectors = nn.Sequential(
            nn.Linear(5, 7), nn.BatchNorm1d(7), nn.ReLU())
        self.head = nn.Linear(7, 3)
        for layer in norms(self):
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.5, 2)
            nn.init.uniform_(layer.weight, 0.5, 2)

    def forward(self, inputs_BCHW: Tensor) -> Tensor:
        return self.head(self.vectors(self.maps(inputs_BCHW)))


class PlainTeacher(BaseTeacher):
    """A teacher whose source says nothing."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(
            network, {},
            input_size=(9, 8),
            mean=[128.0, 100.0, 90.0],
            std=[60.0, 50.0, 70])


def norms(network: nn.Module) -> list[nn.Module]:
    """The batch-norm layers, which run in this order."""
    return [layer for layer in network.modules() if isinstance(layer, NORMS)]


def num_hooks(network: nn.Module) -> int:
    """Hooks of all kinds on all layers."""
    return sum(
        len(hooks) for layer in network.modules()
        for hooks in (layer._forward_pre_hooks, layer._forward_hooks,
                      layer._backward_hooks, layer._backward_pre_hooks))


@pytest.fixture
def teacher() -> PlainTeacher:
    """Of a network with three batch-norm layers."""
    return PlainTeacher(MixedNorms())


@pytest.fixture
def images_BCHW() -> Tensor:
    """Six RGB images in [0, 1]."""
    return torch.rand(6, 3, 9, 8)


def test_train_always_gives_eval(teacher: PlainTeacher) -> None:
    whole = nn.Sequential(teacher, nn.Dropout())
    for call in (teacher.train, lambda: teacher.train(True), whole.train):
        call()
        assert not any(layer.training for layer in teacher.modules())
    assert whole[1].training


def test_gradients_reach_the_images_but_no_parameter(
        teacher: PlainTeacher, images_BCHW: Tensor) -> None:
    images_BCHW.requires_grad_()
    teacher(images_BCHW).logits_BK.square().sum().backward()
    assert torch.isfinite(images_BCHW.grad).all()
    assert (images_BCHW.grad.flatten(1).norm(dim=1) > 0).all()
    assert len(list(teacher.parameters())) > 0
    for parameter in teacher.parameters():
        assert not parameter.requires_grad
        assert parameter.grad is None


def test_statistics_are_float32_also_under_autocast(
        teacher: PlainTeacher, images_BCHW: Tensor) -> None:
    with torch.autocast('cpu', torch.bfloat16):
        output = teacher(images_BCHW, with_bn=True)
    assert output.logits_BK.dtype == torch.bfloat16
    for layer in output.bn_statistics:
        assert layer.mean_F.dtype == torch.float32
        assert layer.variance_F.dtype == torch.float32


def test_maps_are_the_inputs_of_the_layers_that_are_named(
        teacher: PlainTeacher, images_BCHW: Tensor) -> None:
    layers = teacher.network.maps
    # Whatever order they are named in, they come in that of the forward.
    output = teacher(images_BCHW, maps_at=(layers[6], layers[3]))
    inputs_BCHW = teacher.input_adapter(images_BCHW)
    assert output.maps is not None
    for values, end in zip(output.maps, (3, 6), strict=True):
        assert torch.equal(values, layers[:end](inputs_BCHW))
    assert output.features_BF is None and output.bn_statistics is None
    assert torch.equal(output.logits_BK, teacher(images_BCHW).logits_BK)
    assert num_hooks(teacher) == 0


class OneNorm(nn.Module):
    """A normalisation layer of maps or of rows, then three classes."""

    def __init__(self, norm: nn.Module, shape: str) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.norm = norm
        self.shape = shape
        self.head = nn.Linear(4, 3)

    def forward(self, inputs_BCHW: Tensor) -> Tensor:
        maps_BFHW = self.stem(inputs_BCHW)
        if self.shape == 'maps':
            return self.head(self.norm(maps_BFHW).mean((2, 3)))
        if self.shape == 'rows':
            return self.head(self.norm(maps_BFHW.flatten(2)).mean(2))
        return self.head(self.norm(maps_BFHW.mean((2, 3))))


def with_random_statistics(norm: nn.Module) -> nn.Module:
    nn.init.normal_(norm.running_mean)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    return norm


@pytest.mark.parametrize('norm, shape, axes', [
    (nn.BatchNorm2d(4), 'maps', (0, 2, 3)),
    (nn.BatchNorm1d(4), 'rows', (0, 2)),
    (nn.BatchNorm1d(4), 'vectors', (0, )),
    (nn.SyncBatchNorm(4), 'maps', (0, 2, 3)),
    (FrozenBatchNorm2d(4), 'maps', (0, 2, 3)),
])
def test_statistics_of_any_batch_norm_are_those_of_its_input(
        norm: nn.Module, shape: str, axes: tuple[int, ...],
        images_BCHW: Tensor) -> None:
    network = OneNorm(with_random_statistics(norm), shape)
    teacher = PlainTeacher(network)
    assert teacher.bn_layers == [norm]
    statistics, = teacher(images_BCHW, with_bn=True).bn_statistics
    with torch.no_grad():
        maps_BFHW = network.stem(teacher.input_adapter(images_BCHW))
    inputs = maps_BFHW.mean((2, 3)) if shape == 'vectors' else (
        maps_BFHW.flatten(2) if shape == 'rows' else maps_BFHW)
    values = inputs.numpy().astype(np.float64)
    np.testing.assert_allclose(statistics.mean_F.detach(), values.mean(axes),
                               1e-4, 1e-6)
    np.testing.assert_allclose(statistics.variance_F.detach(),
                               values.var(axes), 1e-4, 1e-6)
    assert torch.equal(statistics.running_mean_F, norm.running_mean)
    assert torch.equal(statistics.running_variance_F, norm.running_var)


@pytest.mark.parametrize('norm', [
    nn.InstanceNorm2d(4, track_running_stats=True),
    nn.GroupNorm(2, 4),
    nn.BatchNorm2d(4, track_running_stats=False),
])
def test_other_normalisation_has_no_batch_statistics(
        norm: nn.Module, images_BCHW: Tensor) -> None:
    teacher = PlainTeacher(OneNorm(norm, 'maps'))
    assert teacher.bn_layers == []
    assert teacher(images_BCHW, with_bn=True).bn_statistics == ()


def test_features_of_a_classifying_convolution_are_means_over_positions(
        images_BCHW: Tensor) -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 1),
        nn.AdaptiveAvgPool2d(1))
    teacher = PlainTeacher(network)
    output = teacher(images_BCHW, with_features=True)
    maps_BFHW = network[:2](teacher.input_adapter(images_BCHW)).detach()
    np.testing.assert_allclose(output.features_BF,
                               maps_BFHW.numpy().mean((2, 3)), 1e-5, 1e-6)
    assert output.logits_BK.shape == (6, 3)


def test_a_compiled_network_still_runs_its_hooks(teacher: PlainTeacher,
                                                 images_BCHW: Tensor) -> None:
    eager = teacher(images_BCHW, with_bn=True, with_features=True)
    compiled = []

    def backend(graph: torch.fx.GraphModule, _: list) -> Callable:
        compiled.append(graph)
        return graph.forward

    compile_in_place(dict(backend=backend), teacher.network)
    torch.testing.assert_close(teacher(images_BCHW).logits_BK, eager.logits_BK)
    assert compiled
    compiled.clear()
    output = teacher(images_BCHW, with_bn=True, with_features=True)
    assert not compiled and len(output.bn_statistics) == 3
    assert torch.equal(output.features_BF, eager.features_BF)
    for layer, expected in zip(output.bn_statistics, eager.bn_statistics):
        assert torch.equal(layer.mean_F, expected.mean_F)


def test_mean_and_std_are_in_units_of_the_value_range(
        images_BCHW: Tensor) -> None:
    network = MixedNorms()
    fields = dict(input_size=(9, 8))
    one = BaseTeacher(
        network, {},
        **fields,
        mean=[0.5, 0.4, 0.3],
        std=[0.2] * 3,
        value_range=1)
    other = BaseTeacher(
        network, {}, **fields, mean=[127.5, 102.0, 76.5], std=[51.0] * 3)
    assert one.facts['mean'].value == pytest.approx(other.facts['mean'].value)
    torch.testing.assert_close(
        one(images_BCHW).logits_BK,
        other(images_BCHW).logits_BK)
    with pytest.raises(UserError, match='model.teacher.mean and'):
        BaseTeacher(network, {}, **fields, std=[0.2] * 3, value_range=1)


@pytest.mark.parametrize('dtype',
                         [torch.float16, torch.bfloat16, torch.float64])
def test_a_network_of_another_precision_is_cast(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    network = MixedNorms().eval()
    images_BCHW = torch.rand(2, 3, 9, 8)
    expected_BK = PlainTeacher(network)(images_BCHW).logits_BK
    teacher = PlainTeacher(network.to(dtype))
    assert teacher.facts['precision'] == ('torch.float32',
                                          f'the network had {dtype}')
    torch.testing.assert_close(
        teacher(images_BCHW).logits_BK, expected_BK, rtol=0.05, atol=0.05)


class Doubling(MixedNorms):
    """It insists on another precision than its weights."""

    def forward(self, inputs_BCHW: Tensor) -> Tensor:
        return super().forward(inputs_BCHW.double())


def test_a_failure_by_precision_is_not_one_by_shape() -> None:
    with pytest.raises(UserError, match='save it in float32') as caught:
        PlainTeacher(Doubling())
    assert 'input_size' not in str(caught.value)


class OneLogit(MixedNorms):
    """Two classes, and the logit of the second."""

    def __init__(self, squeezes: bool) -> None:
        super().__init__()
        self.squeezes = squeezes
        self.head = nn.Linear(7, 1)

    def forward(self, inputs_BCHW: Tensor) -> Tensor:
        logits_B1 = super().forward(inputs_BCHW)
        return logits_B1.squeeze(1) if self.squeezes else logits_B1


@pytest.mark.parametrize('squeezes', [False, True])
def test_one_logit_is_for_two_classes(squeezes: bool) -> None:
    network = OneLogit(squeezes).eval()
    teacher = PlainTeacher(network)
    images_BCHW = torch.rand(4, 3, 9, 8)
    output = teacher(images_BCHW, with_features=True)
    inputs_BCHW = teacher.input_adapter(images_BCHW)
    probabilities_B = network(inputs_BCHW).flatten().sigmoid()
    torch.testing.assert_close(
        output.logits_BK.softmax(1)[:, 1], probabilities_B)
    assert teacher.num_classes == 2
    assert teacher.facts['activation'].value == 'softmax'
    assert output.features_BF.shape == (4, 7)
