"""Networks that fit each other, and evaluation through the student."""
import pytest
import torch
from algorithm_helpers import (make_algorithm, one_iteration, optimisers,
                               tiny_teacher)
from tiny_networks import classifier
from torch import nn

from tadfkd.errors import UserError

RGB = dict(
    type='UpsamplingGenerator',
    latent_size=6,
    image_size=8,
    image_channels=3,
    width=4)
MOBILENET = 'mobilenet-v3-small-050_3rdparty_in1k'


def test_the_state_holds_student_and_generator_and_loads_strictly() -> None:
    model, other = make_algorithm('TADFKD'), make_algorithm('TADFKD')
    weights = model.state_dict()
    assert {key.split('.')[0] for key in weights} == {'student', 'generator'}
    other.load_state_dict(weights, strict=True)
    assert all(
        value.equal(other.state_dict()[key]) for key, value in weights.items())
    del weights['student.head.fc.bias']
    with pytest.raises(RuntimeError, match='student.head.fc.bias'):
        other.load_state_dict(weights, strict=True)


@pytest.mark.parametrize('changes, message', [
    (dict(student=classifier(num_classes=7)),
     'student has 7 classes and the teacher 5'),
    (dict(student=classifier(in_channels=3)),
     r'the student cannot take .*shape \(1, 8, 8\).*image_channels'),
    (dict(student='resnet18_8xb16_cifar11'),
     "did you mean 'resnet18_8xb16_cifar10"),
    (dict(teacher=tiny_teacher(classifier(in_channels=3))),
     r'takes images of 3 channels \(the first convolution\), the generator '
     'makes 1.* or set model.teacher.grey_to_rgb'),
    (dict(teacher=None, student=MOBILENET,
          generator=RGB), 'set model.num_classes'),
])
def test_networks_that_do_not_fit_name_the_field(changes: dict,
                                                 message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_algorithm('TADFKD', **changes)


def test_prediction_is_the_students() -> None:
    model = make_algorithm('TADFKD').eval()
    images_BCHW = torch.rand(3, 1, 8, 8)
    logits_BK = model(images_BCHW)
    # 127.5 and 63.75 in units of 255.
    expected_BK = model.student((images_BCHW - 0.5) / 0.25, mode='tensor')
    torch.testing.assert_close(logits_BK, expected_BK)
    samples = model(images_BCHW, mode='predict')
    for sample, logits_K in zip(samples, expected_BK):
        torch.testing.assert_close(sample.pred_score, logits_K.softmax(0))
        assert sample.pred_label.item() == logits_K.argmax().item()


def test_without_a_teacher_the_student_can_be_evaluated() -> None:
    model = make_algorithm(
        'TADFKD',
        teacher=None,
        student=MOBILENET,
        student_input_size=16,
        num_classes=7,
        generator=RGB)
    assert model.num_classes == 7
    assert model.eval()(torch.rand(2, 3, 8, 8)).shape == (2, 7)


def test_a_named_student_gets_the_classes_of_the_teacher() -> None:
    model = make_algorithm(
        'TADFKD',
        teacher=tiny_teacher(classifier(num_classes=7, in_channels=3)),
        student=MOBILENET,
        student_input_size=16,
        # Only read without a teacher.
        num_classes=3,
        generator=RGB)
    assert model.num_classes == model.teacher.num_classes == 7
    assert model.student_input.input_size == (16, 16)


def test_the_students_images_are_resized_for_it_alone() -> None:
    model = make_algorithm('TADFKD', student_input_size=(12, 10)).eval()
    sizes = []
    for network in (model.student, model.teacher.network):
        network.register_forward_pre_hook(
            lambda _, inputs: sizes.append(tuple(inputs[0].shape[2:])))
    images_BCHW = torch.rand(2, 1, 8, 8, requires_grad=True)
    model(images_BCHW).square().sum().backward()
    model.teacher(images_BCHW)
    assert sizes == [(12, 10), (8, 8)]
    assert (images_BCHW.grad != 0).all()


def test_channels_last_changes_results_by_rounding_only() -> None:
    # Not narrower: see the argument channels_last.
    wide = classifier()
    wide['backbone'] |= dict(base_channels=16, stem_channels=16)
    wide['head'] |= dict(in_channels=128)
    losses, models = [], []
    for channels_last in (False, True):
        torch.manual_seed(0)
        model = make_algorithm(
            'TADFKD',
            selector=dict(type='SelectAll'),
            channels_last=channels_last,
            student=wide,
            teacher=tiny_teacher(wide),
            generator=RGB | dict(width=16, image_channels=1))
        models.append(model)
        losses.append(one_iteration(model, optimisers(model, lr=1e-2)).losses)
    assert losses[1] == pytest.approx(losses[0], rel=1e-3, abs=1e-4)
    # Loaded weights keep the order.
    models[1].load_state_dict(models[0].state_dict())
    for model, channels_last in zip(models, (False, True)):
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d) and layer.in_channels > 1 and \
                    layer.kernel_size != (1, 1):
                assert layer.weight.is_contiguous() != channels_last
