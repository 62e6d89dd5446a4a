"""The inspection of a teacher before a run."""
import re
from collections.abc import Callable

import pytest
import torch
from algorithm_helpers import make_algorithm, optimisers
from mmengine.optim import OptimWrapperDict
from torch import Tensor, nn

from tadfkd.algorithms import BaseDFKD
from tadfkd.evaluation import (calibrate_batch_norm, first_images,
                               inspect_teacher, try_steps)
from tadfkd.generators import ProceduralGenerator

FIELDS = dict(input_size=8, mean=[0.0], std=[255.0])


class Small(nn.Module):
    """A convolution of two filters, then five classes."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.Conv2d(1, 2, 3)
        self.head = nn.Linear(2 * 36, 5)

    def forward(self, inputs_BCHW: Tensor) -> Tensor:
        return self.head(self.filters(inputs_BCHW).tanh().flatten(1))


class Blind(Small):
    """Its logits do not depend on the image."""

    def forward(self, inputs_BCHW: Tensor) -> Tensor:
        return super().forward(0 * inputs_BCHW)


class Softmax(Small):
    """It gives probabilities."""

    def forward(self, inputs_BCHW: Tensor) -> Tensor:
        return super().forward(inputs_BCHW).softmax(1)


class Rounding(Small):
    """It has an operation without a gradient."""

    def forward(self, inputs_BCHW: Tensor) -> Tensor:
        return super().forward((8 * inputs_BCHW).round())


class Detached(Small):
    """It cuts off the gradient."""

    def forward(self, inputs_BCHW: Tensor) -> Tensor:
        return super().forward(inputs_BCHW).detach()


class Inference(Small):
    """It cannot be trained."""

    @torch.inference_mode()
    def forward(self, inputs_BCHW: Tensor) -> Tensor:
        return super().forward(inputs_BCHW)


class Whole(Small):
    """It takes pixels as bytes."""

    def forward(self, inputs_BCHW: Tensor) -> Tensor:
        return super().forward((255 * inputs_BCHW).byte().float())


class InNumPy(Small):
    """It leaves torch."""

    def forward(self, inputs_BCHW: Tensor) -> Tensor:
        return super().forward(torch.from_numpy(inputs_BCHW.numpy()))


class Random(Small):
    """It drops features in eval mode too."""

    def forward(self, inputs_BCHW: Tensor) -> Tensor:
        return super().forward(nn.functional.dropout(inputs_BCHW))


class Idle(Small):
    """It has a batch norm that no forward calls."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(2)


class Overflowing(Small):
    """Its logits are infinite."""

    def forward(self, inputs_BCHW: Tensor) -> Tensor:
        return super().forward(inputs_BCHW) / 0


class Normed(nn.Module):
    """Its batch norm was trained on images of mean 0.5 and deviation 0.25 that
    are normalised by them."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.Conv2d(1, 6, 3)
        self.norm = nn.BatchNorm2d(6, momentum=1.0)
        self.head = nn.Linear(6 * 36, 5)
        generator = ProceduralGenerator([dict(type='SpectralFields')], 8, 1)
        images_BCHW = generator(torch.randn(500, generator.latent_size))
        self((images_BCHW - 0.5) / 0.25)
        self.eval()

    def forward(self, inputs_BCHW: Tensor) -> Tensor:
        return self.head(self.norm(self.filters(inputs_BCHW)).flatten(1))


def teacher(network: type[nn.Module], **fields: object) -> dict:
    """The config of a teacher with that network."""
    return dict(type='ModuleTeacher', factory=network) | FIELDS | fields


@pytest.fixture
def build(make_model: Callable) -> Callable[..., BaseDFKD]:
    """Builds a model with a teacher of a given class."""
    return lambda network, **fields: make_model(
        teacher=teacher(network, **fields))


@pytest.mark.parametrize('fields, width', [
    (dict(mean=[127.5], std=[63.75]), None),
    (dict(mean=[0.5], std=[0.25], value_range=1.0), None),
    (dict(mean=[100.0], std=[100.0]), None),
    (dict(mean=[0.0], std=[255.0]), 'note'),
    (dict(mean=[0.0], std=[8.0]), 'note'),
    (dict(mean=[0.0], std=[1.0]), r'\(0, 1\) are .* \(0, 255\)'),
    (dict(mean=[0.5], std=[0.25]), r'\(0.5, 0.25\) .* \(127.5, 63.75\)'),
])
def test_the_first_batch_norm_tells_wrong_units(build: Callable, fields: dict,
                                                width: str | None) -> None:
    torch.manual_seed(0)
    report = inspect_teacher(build(Normed, **fields), 4)
    said = 'its first batch norm sees values'
    notes = [note for note in report.notes if said in note]
    if width is None or width == 'note':
        assert (len(notes), report.problems) == (width == 'note', [])
        return
    [problem] = report.problems
    assert problem.startswith(said) and 'value_range=1.0' in problem
    assert re.search(width, problem)


def test_without_batch_norm_a_small_std_is_a_note(build: Callable) -> None:

    def notes(**fields: object) -> list[str]:
        report = inspect_teacher(build(Small, **fields), 4)
        return [note for note in report.notes if 'mean and std' in note]

    assert notes() == notes(mean=[0.4], std=[0.25], value_range=1.0) == []
    [note] = notes(mean=[0.4], std=[0.25])
    assert '(0.4, 0.25) are' in note and '(102, 63.75)' in note


@pytest.mark.parametrize('network', [Small, Normed])
def test_a_value_range_of_1_with_other_units_is_a_problem(
        build: Callable, network: type[nn.Module]) -> None:
    report = inspect_teacher(
        build(network, mean=[127.5], std=[63.75], value_range=1.0), 4)
    [problem] = report.problems
    assert problem.startswith('std is 1.626e+04 in units of [0, 255]')


def test_a_teacher_of_known_figures(build: Callable) -> None:
    report = inspect_teacher(build(Small), 4)
    assert report.num_parameters == 2 * 9 + 2 + 72 * 5 + 5
    # 36 positions of 2 filters of 9 weights; 72 features to 5 classes.
    assert report.multiply_adds == 36 * 2 * 9 + 72 * 5
    assert report.num_features == 72
    assert (report.num_bn_layers, report.num_bn_seen) == (0, 0)
    assert report.facts['num_classes'] == (5, 'the network')
    assert report.facts['input_size'] == ((8, 8), 'set in model.teacher')
    assert report.problems == []
    assert report.verdict == 'OK with notes'
    assert any('no batch norm' in note for note in report.notes)


@pytest.mark.parametrize('network, reason', [
    (Detached, 'cut off from the image'),
    (Inference, 'cut off from the image'),
    (Whole, 'cut off from the image'),
    (InNumPy, r"Can't call numpy\(\)"),
])
def test_a_teacher_without_gradient_is_reported(build: Callable,
                                                network: type[nn.Module],
                                                reason: str) -> None:
    report = inspect_teacher(build(network), 4)
    [problem] = report.problems
    assert re.match(f'no gradient reaches the image \\(.*{reason}', problem)


def test_a_random_teacher_is_noted(build: Callable) -> None:

    def random(network: type[nn.Module]) -> bool:
        notes = inspect_teacher(build(network), 4).notes
        return any('differently when asked twice' in note for note in notes)

    assert [random(network) for network in (Random, Small)] == [True, False]


def test_the_gradient_is_that_of_the_largest_logit_less_the_mean(
        build: Callable) -> None:
    model = build(Small)
    images_BCHW = first_images(model, 4, 'teacher_check').requires_grad_()
    norms = []
    for image_CHW in images_BCHW:
        logits_K = model.teacher(image_CHW[None]).logits_BK[0]
        gradient_BCHW, = torch.autograd.grad(
            max(logits_K) - sum(logits_K) / 5, images_BCHW)
        norms.append(gradient_BCHW.square().sum().sqrt().item())
    report = inspect_teacher(model, 4)
    assert report.image_gradient == pytest.approx(sum(norms) / 4, rel=1e-4)


def test_answers_are_those_of_the_generated_images(build: Callable) -> None:
    model = build(Small)
    output = model.teacher(first_images(model, 6, 'teacher_check'))
    found = inspect_teacher(model, 6).generated
    logits_BK = output.logits_BK.double()
    deviations_K = [
        (column_B - column_B.mean()).square().sum().div(5).sqrt().item()
        for column_B in logits_BK.T
    ]
    assert found.spread == pytest.approx(sum(deviations_K) / 5, rel=1e-4)
    assert found.confidence == pytest.approx(
        logits_BK.softmax(1).amax(1).mean().item(), rel=1e-5)
    assert found.num_predicted == len({*logits_BK.argmax(1).tolist()})
    kept_B = model.candidates.selector.select(output)
    assert found.kept == pytest.approx(100 * kept_B.sum().item() / 6)


def test_looking_changes_nothing(build: Callable) -> None:
    model = build(Small).train()
    before = {
        name: value.clone()
        for module in (model, model.teacher)
        for name, value in module.state_dict().items()
    }
    first = inspect_teacher(model, 4)
    for module in (model, model.teacher):
        for name, value in module.state_dict().items():
            assert torch.equal(value, before[name]), name
    assert model.streams.state_dict() == {}
    assert model.generator.training and model.student.training
    assert inspect_teacher(model, 4) == first


@pytest.mark.parametrize('network, problem', [
    (Blind, 'it gives every image the same logits'),
    (Softmax, 'probabilities, not logits'),
    (Rounding, 'no gradient reaches the image'),
    (Overflowing, 'its logits are not finite'),
])
def test_a_hopeless_teacher_is_unusable(build: Callable, network: type,
                                        problem: str) -> None:
    report = inspect_teacher(build(network), 4)
    assert problem in ' '.join(report.problems)
    assert report.verdict.startswith('unusable: ')


def test_the_generator_gradient_is_that_of_its_step(
        build: Callable, make_optimisers: Callable[[BaseDFKD],
                                                   OptimWrapperDict]) -> None:
    model = build(Small)
    before = [value.detach().clone() for value in model.generator.parameters()]
    steps = try_steps(model, make_optimisers(model), repeats=1)
    moved = torch.stack([
        (new - old).double().square().sum()
        for old, new in zip(before, model.generator.parameters())
    ]).sum().sqrt().item()
    # Plain SGD moves by its rate of 0.1 times the gradient.
    assert steps.generator_gradient == pytest.approx(moved / 0.1, rel=1e-3)


def test_a_batch_norm_without_statistics_gives_no_term(
        build: Callable, make_optimisers: Callable[[BaseDFKD],
                                                   OptimWrapperDict]) -> None:
    model = build(Idle)
    assert model.teacher.bn_layers and model.bn_loss is None
    assert try_steps(model, make_optimisers(model), 1).generator_gradient > 0


def test_the_student_is_tried_in_spite_of_a_warm_up() -> None:
    model = make_algorithm('NAYER', warmup_iterations=20)
    try_steps(model, optimisers(model), repeats=1)
    assert model.counters.student_steps == 1


def test_random_weights_get_the_statistics_of_images(
        make_model: Callable) -> None:
    teacher = make_model().teacher
    images_BCHW = torch.rand(16, 1, 8, 8)
    momenta = [layer.momentum for layer in teacher.bn_layers]
    calibrate_batch_norm(teacher, images_BCHW)
    first = teacher.bn_layers[0]
    inputs_BCHW = (images_BCHW - 0.5) / 0.25
    maps_BCHW = teacher.network.backbone.conv1(inputs_BCHW)
    mean_F = maps_BCHW.transpose(0, 1).flatten(1).mean(1)
    torch.testing.assert_close(first.running_mean, mean_F)
    assert [layer.momentum for layer in teacher.bn_layers] == momenta
    assert not any(module.training for module in teacher.modules())
    # The variances of the later layers, which see 16 values per channel, are
    # biased in the term and unbiased here.
    for layer in teacher(images_BCHW, with_bn=True).bn_statistics:
        torch.testing.assert_close(
            layer.mean_F, layer.running_mean_F, rtol=0.2, atol=0.1)
