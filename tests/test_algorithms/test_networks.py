"""Networks that fit each other, and evaluation through the student."""
from collections.abc import Callable

import pytest
import torch
from tiny_networks import classifier

from tadfkd.errors import UserError


def test_the_state_holds_student_and_generator_and_loads_strictly(
        make_model: Callable) -> None:
    model = make_model()
    weights = model.state_dict()
    assert {key.split('.')[0] for key in weights} == {'student', 'generator'}
    other = make_model()
    other.load_state_dict(weights, strict=True)
    assert all(
        value.equal(other.state_dict()[key]) for key, value in weights.items())
    del weights['student.head.fc.bias']
    with pytest.raises(RuntimeError, match='student.head.fc.bias'):
        other.load_state_dict(weights, strict=True)


def test_different_class_counts_are_refused(make_model: Callable) -> None:
    with pytest.raises(
            UserError, match='student has 7 classes and the teacher 5'):
        make_model(student=classifier(num_classes=7))


def test_a_network_of_other_channels_is_named(make_model: Callable) -> None:
    with pytest.raises(
            UserError,
            match=r'the student cannot take .*shape \(1, 8, 8\).*'
            'image_channels'):
        make_model(student=classifier(in_channels=3))


def test_a_misspelt_student_is_answered_with_the_nearest_name(
        make_model: Callable) -> None:
    with pytest.raises(
            UserError, match="did you mean 'resnet18_8xb16_cifar10"):
        make_model(student='resnet18_8xb16_cifar11')


def test_synthesis_is_repeatable_and_changes_nothing(
        make_model: Callable) -> None:
    model = make_model().train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    first = model.synthesize(4)
    assert first.equal(model.synthesize(4))
    assert not first.equal(model.synthesize(4, purpose='other'))
    assert all(
        value.equal(model.state_dict()[key]) for key, value in before.items())
    assert model.generator.training
    assert model.streams.state_dict() == {}


def test_prediction_is_the_students(make_model: Callable) -> None:
    model = make_model().eval()
    images_BCHW = torch.rand(3, 1, 8, 8)
    logits_BK = model(images_BCHW)
    # 127.5 and 63.75 in units of 255.
    expected_BK = model.student((images_BCHW - 0.5) / 0.25, mode='tensor')
    torch.testing.assert_close(logits_BK, expected_BK)
    samples = model(images_BCHW, mode='predict')
    for sample, logits_K in zip(samples, expected_BK):
        torch.testing.assert_close(sample.pred_score, logits_K.softmax(0))
        assert sample.pred_label.item() == logits_K.argmax().item()


def test_without_a_teacher_the_student_can_be_evaluated(
        make_model: Callable) -> None:
    model = make_model(teacher=None)
    assert model.num_classes == 5
    assert model(torch.rand(2, 1, 8, 8)).shape == (2, 5)


def test_a_teacher_of_other_channels_names_the_fields(
        make_model: Callable) -> None:
    with pytest.raises(UserError) as caught:
        make_model(
            teacher=dict(
                type='MMPretrainTeacher',
                model=classifier(in_channels=3),
                input_size=8,
                allow_random_weights=True))
    assert 'the teacher takes images of 3 channels (the first convolution), ' \
        'the generator makes 1' in str(caught.value)
    assert 'or set model.teacher.grey_to_rgb' in str(caught.value)


def test_a_named_student_gets_the_classes_of_the_teacher(
        make_model: Callable) -> None:
    model = make_model(
        teacher=dict(
            type='MMPretrainTeacher',
            model=classifier(num_classes=7, in_channels=3),
            input_size=8,
            allow_random_weights=True),
        student='mobilenet-v3-small-050_3rdparty_in1k',
        student_input_size=16,
        # The teacher tells; this is for evaluation without one.
        num_classes=3,
        generator=dict(
            type='UpsamplingGenerator',
            latent_size=6,
            image_size=8,
            image_channels=3,
            width=4))
    assert model.num_classes == model.teacher.num_classes == 7
    assert model.student_input.input_size == (16, 16)
    assert model.eval()(torch.rand(2, 3, 8, 8)).shape == (2, 7)


def test_a_named_student_without_a_teacher_is_told_its_classes(
        make_model: Callable) -> None:
    named = dict(
        teacher=None,
        student='mobilenet-v3-small-050_3rdparty_in1k',
        student_input_size=16,
        generator=dict(
            type='UpsamplingGenerator',
            latent_size=6,
            image_size=8,
            image_channels=3,
            width=4))
    with pytest.raises(UserError, match='set model.num_classes'):
        make_model(**named)
    assert make_model(num_classes=7, **named).num_classes == 7


def test_the_students_images_are_resized_for_it_alone(
        make_model: Callable) -> None:
    model = make_model(student_input_size=(12, 10)).eval()
    sizes = []
    for network in (model.student, model.teacher.network):
        network.register_forward_pre_hook(
            lambda _, inputs: sizes.append(tuple(inputs[0].shape[2:])))
    images_BCHW = torch.rand(2, 1, 8, 8, requires_grad=True)
    model(images_BCHW).square().sum().backward()
    model.teacher(images_BCHW)
    assert sizes == [(12, 10), (8, 8)]
    assert (images_BCHW.grad != 0).all()
