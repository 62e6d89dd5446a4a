"""Networks that fit each other, and evaluation through the student."""
import pytest
import torch
from algorithm_helpers import make_algorithm, tiny_teacher
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
