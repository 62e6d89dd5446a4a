"""Lean copies answer as their networks do."""
import threading

import pytest
import torch
from torch import Tensor, nn

from tadfkd.evaluation import calibrate_batch_norm
from tadfkd.networks.folding import folded
from tadfkd.teachers import BaseTeacher


class Ordered(nn.Module):
    """Batch norm after its convolution, or before it in spite of its place."""

    def __init__(self, norm_first: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 1)
        self.conv = nn.Conv2d(4, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 3)
        self.norm_first = norm_first
        nn.init.normal_(self.norm.running_mean)
        nn.init.uniform_(self.norm.running_var, 0.1, 2)
        nn.init.uniform_(self.norm.weight, 0.5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        layers = [self.conv, self.norm]
        for layer in layers[::-1] if self.norm_first else layers:
            x = layer(x)
        return self.head(x.relu().mean((2, 3)))


class Teacher(BaseTeacher):
    """Of grey images of 6 pixels."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(
            network, {},
            input_size=6,
            num_channels=1,
            mean=[128.0],
            std=[60.0])


@pytest.fixture
def images_BCHW() -> Tensor:
    """In [0, 1]."""
    return torch.rand(5, 1, 6, 6, generator=torch.Generator().manual_seed(0))


def test_a_lean_teacher_gives_the_same_logits_and_gradients(
        images_BCHW: Tensor) -> None:
    teacher, lean = Teacher(Ordered()), Teacher(Ordered())
    lean.network.load_state_dict(teacher.network.state_dict())
    lean.make_lean(torch.float32)
    assert isinstance(lean.lean.norm, nn.Identity)
    answers = []
    for one in teacher, lean:
        inputs = images_BCHW.clone().requires_grad_()
        logits = one(inputs).logits_BK
        logits.square().sum().backward()
        answers += [(logits, inputs.grad)]
    for plain, fast in zip(*answers):
        torch.testing.assert_close(fast, plain)
    # The statistics are those of the network itself, which stays whole.
    assert isinstance(lean.network.norm, nn.BatchNorm2d)
    [found] = lean(images_BCHW, with_bn=True).bn_statistics
    [expected] = teacher(images_BCHW, with_bn=True).bn_statistics
    assert found.mean_F.equal(expected.mean_F)
    # They move together.
    assert next(lean.double().lean.parameters()).dtype == torch.float64


def test_layers_in_another_order_are_not_folded() -> None:
    teacher = Teacher(Ordered(norm_first=True))
    teacher.make_lean(torch.float32)
    assert teacher.lean is None


@pytest.mark.parametrize('network', [
    nn.Sequential(nn.Flatten(), nn.Linear(36, 3)),
    torch.jit.trace(Ordered().eval(), torch.rand(2, 1, 6, 6))
])
def test_without_batch_norm_there_is_no_copy(network: nn.Module) -> None:
    assert folded(network) is None


def test_a_batch_norm_that_does_not_fit_its_neighbour_is_no_error() -> None:
    assert folded(nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(3))) is None


def test_weights_that_are_computed_are_not_folded() -> None:
    network = Ordered()
    nn.utils.parametrizations.weight_norm(network.conv)
    assert folded(network) is None


def test_without_a_convolution_before_it_nothing_is_folded() -> None:
    assert folded(
        nn.Sequential(nn.Flatten(), nn.Linear(36, 3),
                      nn.BatchNorm1d(3))) is None


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_a_small_branch_that_would_be_folded_wrongly_is_noticed(
        images_BCHW: Tensor, dtype: torch.dtype) -> None:

    class Branch(Ordered):
        """Its norm is called before its convolution, and counts little."""

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            x = x[..., 1:-1, 1:-1] + 0.05 * self.conv(self.norm(x))
            return self.head(x.relu().mean((2, 3)))

    teacher = Teacher(Branch())
    teacher.make_lean(dtype)
    if dtype == torch.float32:
        assert teacher.lean is None
    else:
        # Its weights are in bfloat16, and nothing is folded.
        assert isinstance(teacher.lean.norm, nn.BatchNorm2d)


class Locked(Ordered):
    """Cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


class Strict(Ordered):
    """Takes weights in float32 only."""

    def forward(self, x: Tensor) -> Tensor:
        if self.head.weight.dtype != torch.float32:
            raise ValueError('not float32')
        return super().forward(x)


@pytest.mark.parametrize('network, dtype', [(Locked(), torch.float32),
                                            (Strict(), torch.bfloat16)])
def test_a_network_without_a_usable_copy_answers_itself(
        images_BCHW: Tensor, network: nn.Module, dtype: torch.dtype) -> None:
    teacher = Teacher(network)
    expected = teacher(images_BCHW).logits_BK
    teacher.make_lean(dtype)
    assert teacher.lean is None
    assert teacher(images_BCHW).logits_BK.equal(expected)


def test_a_copy_of_a_network_in_float64_is_in_float64() -> None:
    lean = folded(Ordered().double().eval())
    assert lean.conv.weight.dtype == torch.float64
    assert lean(torch.rand(2, 1, 6, 6).double()).dtype == torch.float64


def test_a_copy_in_bfloat16_answers_within_autocast_only(
        images_BCHW: Tensor) -> None:
    teacher = Teacher(Ordered())
    expected = teacher(images_BCHW).logits_BK
    with torch.autocast('cpu', torch.bfloat16):
        autocast = teacher(images_BCHW).logits_BK
    teacher.make_lean(torch.bfloat16)
    assert teacher.lean.head.weight.dtype == torch.bfloat16
    assert teacher(images_BCHW).logits_BK.equal(expected)
    with torch.autocast('cpu', torch.bfloat16):
        lean = teacher(images_BCHW).logits_BK
    assert not lean.equal(autocast)
    torch.testing.assert_close(lean, autocast, rtol=0.05, atol=0.05)


def test_a_teacher_is_calibrated_itself_not_its_copy(
        images_BCHW: Tensor) -> None:
    teacher = Teacher(Ordered())
    teacher.make_lean(torch.float32)
    before = teacher.network.norm.running_mean.clone()
    calibrate_batch_norm(teacher, images_BCHW)
    assert not teacher.network.norm.running_mean.equal(before)
    assert teacher.network.norm.running_mean.any()
    assert teacher.lean is None
