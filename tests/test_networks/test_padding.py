"""Blank images fill batches up, and nothing shows it."""
from typing import Any

import pytest
import torch
from algorithm_helpers import make_algorithm
from torch import Tensor, nn

from tadfkd.networks.padding import padded
from tadfkd.teachers import BaseTeacher


@pytest.mark.parametrize('count, expected', [(1, 4), (4, 4), (5, 8)])
def test_the_number_of_images_is_a_multiple(count: int, expected: int) -> None:
    images_BCHW = torch.rand(count, 3, 2, 2)
    full_BCHW = padded(images_BCHW, 4)
    assert len(full_BCHW) == expected
    assert full_BCHW[:count].equal(images_BCHW)
    assert not full_BCHW[count:].any()


def test_the_generator_gets_the_same_gradients() -> None:
    gradients, sizes = [], []
    for pad_to in 1, 4:
        torch.manual_seed(0)
        model = make_algorithm('TADFKD', pad_to=pad_to)
        model.student.eval().requires_grad_(False)
        model.teacher.network.register_forward_pre_hook(
            lambda _, inputs: sizes.append(len(inputs[0])))
        selected = model.candidates.fresh(6)
        sum(model.generator_losses(selected).values()).backward()
        gradients.append(
            torch.cat([
                one.grad.flatten() for one in model.generator.parameters()
                if one.grad is not None
            ]))
    assert sizes == [6, 8]
    plain, full = gradients
    assert plain.norm() > 0
    torch.testing.assert_close(full, plain, rtol=1e-4, atol=1e-6)


def test_maps_have_the_gradients_of_their_logits() -> None:
    model = make_algorithm('SpaceshipNet', pad_to=4)
    images_BCHW = torch.rand_like(model.candidates.fresh(6).images_BCHW)
    output = model.stage_maps.of_teacher(model, images_BCHW)
    assert [len(map_) for map_ in output.maps] == [6] * len(output.maps)
    assert all(gradient.any() for gradient in output.map_gradients)


class Centred(nn.Module):
    """Sees each image less the mean of the batch, as no classifier should."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Any:
        return self.head((x - x.mean(0)).flatten(1))


@pytest.mark.parametrize('multiple', [2, 3, 4])
def test_a_teacher_whose_images_affect_each_other_gets_no_padding(
        multiple: int) -> None:
    teacher = BaseTeacher(
        Centred(), {}, input_size=2, num_channels=1, mean=[0.0], std=[1.0])
    teacher.pad_batches(multiple)
    assert teacher.pad_to == 1


def test_a_student_that_needs_its_batch_gets_no_padding() -> None:
    model = make_algorithm('TADFKD', pad_to=4)
    model.eval()
    images_BCHW = torch.rand_like(model.candidates.fresh(6).images_BCHW)
    sizes: list[int] = []
    model.student.register_forward_pre_hook(
        lambda _, inputs: sizes.append(len(inputs[0])))
    model.student_logits(images_BCHW)
    norm = next(module for module in model.student.modules()
                if isinstance(module, nn.BatchNorm2d))
    norm.training = True
    model.student_logits(images_BCHW)
    norm.training, norm.running_mean, norm.running_var = False, None, None
    model.student_logits(images_BCHW)
    assert sizes == [8, 6, 6]


def test_a_frozen_script_is_padded() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval()
    teacher = BaseTeacher(
        torch.jit.freeze(torch.jit.script(network)), {},
        input_size=2,
        num_channels=1,
        mean=[0.0],
        std=[1.0])
    teacher.pad_batches(4)
    assert teacher.pad_to == 4
    assert teacher(torch.rand(5, 1, 2, 2)).logits_BK.shape == (5, 3)
