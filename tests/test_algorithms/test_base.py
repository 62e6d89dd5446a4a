"""Networks that fit each other, evaluation through the student, and what any
algorithm can add to its recipe."""
import pytest
import torch
from algorithm_helpers import (PROCEDURAL, as_set, make_algorithm,
                               one_iteration, optimisers, snapshot,
                               tiny_teacher)
from tiny_networks import classifier

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


def test_the_average_is_evaluated_and_is_the_student_at_the_end() -> None:
    model = make_algorithm('TADFKD', average_share=0.5, num_student_steps=2)
    model.begin_training(3)
    wrappers = optimisers(model, lr=0.1)
    images_BCHW = torch.rand(4, 1, 8, 8)
    # Up to three steps (half of six) the average is the plain mean.
    expected = torch.zeros(())
    weight = model.student.head.fc.weight
    step = 0

    def average(*_: object) -> None:
        nonlocal expected, step
        step += 1
        expected = expected + (weight.detach() - expected) / min(step, 3)

    wrappers['student'].optimizer.register_step_post_hook(average)
    for _ in range(2):
        model.train_step(None, wrappers)
        torch.testing.assert_close(model.average.module.head.fc.weight,
                                   expected)
        logits_BK = model.eval()(images_BCHW)
        torch.testing.assert_close(
            logits_BK,
            model.average.module((images_BCHW - 0.5) / 0.25, mode='tensor'))
        assert not torch.allclose(logits_BK, model.student_logits(images_BCHW))
        model.train()
    model.train_step(None, wrappers)
    torch.testing.assert_close(weight, expected)
    torch.testing.assert_close(model.eval()(images_BCHW),
                               model.student_logits(images_BCHW))


def test_scaled_targets_end_in_the_last_layer() -> None:
    # The average is the student, because it reaches back over one step.
    model = make_algorithm(
        'TADFKD',
        scale_targets=True,
        average_share=0.01,
        procedural=PROCEDURAL)
    model.begin_training(2)
    scale = float(model.logit_scale)
    assert scale == pytest.approx(model.procedural.logit_deviation)
    wrappers = optimisers(model)
    seen = one_iteration(model, wrappers)
    [student] = seen.of('student', training=True)
    teacher_BK = model.teacher(student.images_BCHW).logits_BK.double()
    teacher_BK = teacher_BK - teacher_BK.mean(1, keepdim=True)
    # L1 in units of the teacher's deviation.
    expected = (torch.from_numpy(student.logits_BK) -
                teacher_BK / scale).abs().mean()
    assert seen.losses['student_logits'] == pytest.approx(
        float(expected), rel=1e-4)

    images_BCHW = torch.rand(4, 1, 8, 8)
    model.train_step(None, wrappers)
    assert model.logit_scale == 1
    # The network alone, without the algorithm, answers in the same units.
    logits_BK = model.eval()(images_BCHW)
    torch.testing.assert_close(
        logits_BK, model.student((images_BCHW - 0.5) / 0.25, mode='tensor'))
    # A finished run that is made longer goes on as it was.
    model.begin_training(3)
    assert model.logit_scale == scale
    torch.testing.assert_close(model(images_BCHW), logits_BK)
    torch.testing.assert_close(model.student_logits(images_BCHW), logits_BK)
    model.train().train_step(None, wrappers)
    assert model.logit_scale == 1


@pytest.mark.parametrize('type', ['TADFKD', 'CMI'])
def test_a_students_batch_is_procedural_first_and_in_part_later(
        type: str) -> None:
    model = make_algorithm(
        type, procedural=PROCEDURAL | dict(alone=0.5, share=0.25))
    model.begin_training(4)
    wrappers = optimisers(model)
    drawn = as_set(
        model.procedural.sample(999,
                                torch.Generator().manual_seed(0)))
    numbers = []
    for _ in range(4):
        seen = one_iteration(model, wrappers)
        [student] = seen.of('student', training=True)
        assert len(student.images_BCHW) == 8
        numbers.append(
            sum(
                bool(as_set(image[None]) & drawn)
                for image in student.images_BCHW))
    assert numbers == [8, 8, 2, 2]


def test_weights_that_are_loaded_keep_their_units() -> None:
    changes = dict(scale_targets=True, procedural=PROCEDURAL)
    done, other = (make_algorithm('TADFKD', **changes) for _ in range(2))
    done.begin_training(1)
    done.train_step(None, optimisers(done))
    other.load_state_dict(done.state_dict())
    other.begin_training(5)
    assert other.logit_scale > 1
    images_BCHW = torch.rand(4, 1, 8, 8)
    torch.testing.assert_close(other.eval()(images_BCHW),
                               done.eval()(images_BCHW))


def test_a_student_without_one_last_layer_keeps_its_scale() -> None:
    model = make_algorithm('TADFKD', scale_targets=True, procedural=PROCEDURAL)
    model.begin_training(1)
    scale = float(model.logit_scale)
    # What follows the layer hides that its weights were multiplied.
    model.student.head.fc.register_forward_hook(
        lambda layer, inputs, logits_BK: logits_BK.tanh())
    model.train_step(None, optimisers(model))
    assert model.logit_scale == scale


@pytest.mark.parametrize('type', ['MAD', 'SpaceshipNet', 'DAFL', 'KAKR'])
def test_an_algorithm_that_cannot_show_procedural_images_says_so(
        type: str) -> None:
    with pytest.raises(UserError, match=f'{type} cannot show its student'):
        make_algorithm(type, procedural=PROCEDURAL)


@pytest.mark.parametrize('type', ['DAFL', 'KAKR', 'FastDFKD'])
def test_any_student_is_its_average_at_the_end(type: str) -> None:
    model = make_algorithm(
        type,
        **dict(average_share=1.0, num_generator_steps=2)
        if type != 'KAKR' else dict(average_share=1.0))
    model.begin_training(3)
    wrappers = optimisers(model)
    # The average of one step is the student, too.
    model.train_step(None, wrappers)
    for last in (False, True):
        model.train_step(None, wrappers)
        same = model.average.module.head.fc.weight.equal(
            model.student.head.fc.weight)
        assert same == last
    assert model.progress == 1


def test_batch_norm_keeps_its_statistics_at_the_end() -> None:
    model = make_algorithm('TADFKD', frozen_norm_share=0.5)
    model.begin_training(4)
    wrappers = optimisers(model)
    moved = []
    for _ in range(4):
        before = snapshot(model.student)
        model.train().train_step(None, wrappers)
        after = snapshot(model.student)
        moved.append(
            any('running' in name and not value.equal(before[name])
                for name, value in after.items()))
        assert not after['head.fc.weight'].equal(before['head.fc.weight'])
    assert moved == [True, True, False, False]


def test_calibrated_weights_multiply_the_losses_from_the_first_step() -> None:
    shares = dict(adversarial=1.0, bn=0.5, l2=0.1)
    losses = []
    for loss_shares in (None, shares):
        torch.manual_seed(4)
        model = make_algorithm(
            'TADFKD', loss_shares=loss_shares, procedural=PROCEDURAL)
        seen = one_iteration(model)
        losses.append(seen.losses)
    plain, weighted = losses
    weights = model.loss_weights.weights
    assert set(weights) == set(shares) and min(weights.values()) == 1
    for name in ('adversarial', 'bn', 'l2', 'tv'):
        assert weighted[f'generator_{name}'] == pytest.approx(
            weights.get(name, 1.0) * plain[f'generator_{name}'], rel=1e-4)
    # They stay, also in a run that is resumed.
    one_iteration(model)
    assert model.loss_weights.weights == weights
    assert model.training_state()['loss_weights'] == weights


@pytest.mark.parametrize('changes, message', [
    (dict(average_share=1.5), r'average_share must be in \[0, 1\]'),
    (dict(frozen_norm_share=-1), r'frozen_norm_share must be in \[0, 1\]'),
    (dict(scale_targets=True), 'set model.procedural'),
    (dict(loss_shares=dict(bn=1.0)), 'set model.procedural'),
    (dict(procedural=dict(families=[])), 'families must name at least one'),
])
def test_a_recipe_that_cannot_be_is_refused(changes: dict,
                                            message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_algorithm('TADFKD', **changes)
