"""The frozen teacher, with a network that is nobody's."""
import numpy as np
import pytest
import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from tadfkd.teachers import BaseTeacher
from tadfkd.utils.classifiers import InputAdapter
from tadfkd.utils.errors import UserError

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
    """Whose network returns logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network,
                         InputAdapter([128.0, 100.0, 90.0], [60.0, 50.0, 70]))

    def logits(self, inputs_BCHW: Tensor) -> Tensor:
        return self.network(inputs_BCHW)


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


def test_gradients_of_the_statistics_reach_the_images(
        teacher: PlainTeacher, images_BCHW: Tensor) -> None:
    images_BCHW.requires_grad_()
    for layer in teacher(images_BCHW, with_bn=True).bn_statistics:
        for value_F in (layer.mean_F, layer.variance_F):
            gradient, = torch.autograd.grad(
                value_F.sum(), images_BCHW, retain_graph=True)
            assert gradient.norm() > 0


def test_init_weights_of_a_parent_keeps_the_loaded_weights() -> None:
    set_to_zero = dict(type='Constant', layer='Linear', val=0.0, bias=0.0)

    class Initialised(BaseModule):
        """Forgets its weights when it is told to initialise them."""

        def __init__(self) -> None:
            super().__init__(init_cfg=set_to_zero)
            self.head = nn.Linear(3, 2)

    class Parent(BaseModule):
        """Holds the network twice, once in a teacher."""

        def __init__(self) -> None:
            super().__init__()
            self.teacher = PlainTeacher(Initialised())
            self.bare = Initialised()

    parent = Parent()
    before = parent.teacher.network.head.weight.clone()
    parent.init_weights()
    assert not parent.bare.head.weight.any(), 'the recursion never ran'
    assert torch.equal(parent.teacher.network.head.weight, before)


def test_statistics_equal_those_of_each_layers_input(
        teacher: PlainTeacher, images_BCHW: Tensor) -> None:
    inputs = {}
    handles = [
        layer.register_forward_hook(
            lambda layer, args, _: inputs.__setitem__(layer, args[0].numpy()))
        for layer in norms(teacher)
    ]
    with torch.no_grad():
        statistics = teacher(images_BCHW, with_bn=True).bn_statistics
    for handle in handles:
        handle.remove()

    assert [value.ndim for value in inputs.values()] == [4, 4, 2]
    assert len(statistics) == 3
    for (layer, value), found in zip(inputs.items(), statistics):
        rows_NF = np.moveaxis(value.astype(np.float64), 1,
                              -1).reshape(-1, value.shape[1])
        mean_F = rows_NF.sum(0) / len(rows_NF)
        variance_F = ((rows_NF - mean_F)**2).sum(0) / len(rows_NF)
        np.testing.assert_allclose(found.mean_F, mean_F, 1e-4, 1e-6)
        np.testing.assert_allclose(found.variance_F, variance_F, 1e-4, 1e-6)
        assert torch.equal(found.running_mean_F, layer.running_mean)
        assert torch.equal(found.running_variance_F, layer.running_var)


def test_statistics_are_float32_also_under_autocast(
        teacher: PlainTeacher, images_BCHW: Tensor) -> None:
    with torch.autocast('cpu', torch.bfloat16):
        output = teacher(images_BCHW, with_bn=True)
    assert output.logits_BK.dtype == torch.bfloat16
    for layer in output.bn_statistics:
        assert layer.mean_F.dtype == torch.float32
        assert layer.variance_F.dtype == torch.float32


def test_hooks_exist_only_in_forwards_that_ask(teacher: PlainTeacher,
                                               images_BCHW: Tensor) -> None:
    seen = []
    forward = teacher.network.head.forward
    teacher.network.head.forward = lambda inputs: (seen.append(
        num_hooks(teacher)), forward(inputs))[1]

    plain = teacher(images_BCHW)
    assert plain.bn_statistics is None and plain.features_BF is None
    teacher(images_BCHW, with_bn=True)
    teacher(images_BCHW, with_features=True)
    assert seen == [0, 3, 1]
    assert num_hooks(teacher) == 0


def test_no_hooks_are_left_by_a_forward_that_fails(
        teacher: PlainTeacher) -> None:
    with pytest.raises(RuntimeError, match='[Kk]ernel size'):
        # Too small for the second convolution.
        teacher(torch.rand(2, 3, 4, 4), with_bn=True, with_features=True)
    assert num_hooks(teacher) == 0


def test_no_forward_changes_the_network(teacher: PlainTeacher,
                                        images_BCHW: Tensor) -> None:
    before = {
        name: value.clone()
        for name, value in teacher.network.state_dict().items()
    }
    teacher.train()
    teacher(images_BCHW, with_bn=True, with_features=True)
    teacher(images_BCHW)
    for name, value in teacher.network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_asking_for_more_does_not_change_the_logits(
        teacher: PlainTeacher, images_BCHW: Tensor) -> None:
    asked = teacher(images_BCHW, with_bn=True, with_features=True)
    assert torch.equal(asked.logits_BK, teacher(images_BCHW).logits_BK)


def test_features_are_the_input_of_the_last_linear_layer(
        teacher: PlainTeacher, images_BCHW: Tensor) -> None:
    output = teacher(images_BCHW, with_features=True)
    head = teacher.network.head
    assert output.features_BF.shape == (6, 7)
    np.testing.assert_allclose(
        output.logits_BK,
        output.features_BF.numpy() @ head.weight.numpy().T + head.bias.numpy(),
        rtol=1e-5,
        atol=1e-6)


def test_features_of_a_network_without_linear_layer_are_a_user_error(
        images_BCHW: Tensor) -> None:
    teacher = PlainTeacher(
        nn.Sequential(
            nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    assert teacher(images_BCHW).logits_BK.shape == (6, 2)
    with pytest.raises(
            UserError, match='Sequential has no linear layer.*algorithm'):
        teacher(images_BCHW, with_features=True)


def test_statistics_of_a_network_without_batch_norm_are_empty(
        images_BCHW: Tensor) -> None:
    teacher = PlainTeacher(
        nn.Sequential(nn.Flatten(), nn.Linear(3 * 9 * 8, 2)))
    assert teacher(images_BCHW, with_bn=True).bn_statistics == ()


def test_batch_norm_without_running_statistics_is_left_out(
        images_BCHW: Tensor) -> None:
    network = MixedNorms()
    network.maps[1] = nn.BatchNorm2d(4, track_running_stats=False)
    statistics = PlainTeacher(network)(images_BCHW, with_bn=True).bn_statistics
    assert [len(layer.mean_F) for layer in statistics] == [5, 7]


def test_images_are_normalised_by_mean_and_std_in_units_of_255(
        teacher: PlainTeacher, images_BCHW: Tensor) -> None:
    mean_C = np.array([128.0, 100.0, 90.0])[:, None, None]
    std_C = np.array([60.0, 50.0, 70.0])[:, None, None]
    inputs_BCHW = (images_BCHW.numpy() * 255 - mean_C) / std_C
    torch.testing.assert_close(
        teacher(images_BCHW).logits_BK,
        teacher.network(torch.from_numpy(inputs_BCHW).float()))
