"""Classifiers of whatever kind: built, asked, inspected."""
import sys
from collections import namedtuple

import pytest
import torch
from torch import Tensor, nn

from tadfkd.classifiers.outputs import (as_logits, build_classifier,
                                        classifier_logits, own_input_size,
                                        own_num_channels, with_predictions)
from tadfkd.errors import UserError


class Returns(nn.Module):
    """A network that returns what it was made with."""

    def __init__(self, output: object) -> None:
        super().__init__()
        self.output = output

    def forward(self, inputs: Tensor, mode: str) -> object:
        assert mode == 'tensor'
        return self.output


def test_logits_are_handed_on() -> None:
    logits_BK = torch.randn(2, 5)
    assert classifier_logits(Returns(logits_BK), torch.rand(2, 3, 4, 4)) \
        is logits_BK


@pytest.mark.parametrize('output, shown', [
    (torch.zeros(2, 5, 7, 7), '(2, 5, 7, 7)'),
    ((torch.zeros(2, 5), torch.zeros(2, 5)), 'got tuple'),
    (None, 'got NoneType'),
])
def test_anything_but_logits_is_refused(output: object, shown: str) -> None:
    with pytest.raises(UserError) as caught:
        classifier_logits(Returns(output), torch.rand(2, 3, 4, 4))
    assert shown in str(caught.value) and 'Returns' in str(caught.value)


def test_predictions_are_the_softmax_and_its_argmax() -> None:
    logits_BK = torch.tensor([[0.0, 0.0, 2.0], [3.0, 0.0, 0.0]]).bfloat16()
    samples = with_predictions(logits_BK, None)
    assert [sample.pred_label.item() for sample in samples] == [2, 0]
    for sample, row_K in zip(samples, logits_BK.float()):
        assert sample.pred_score.dtype == torch.float32
        torch.testing.assert_close(sample.pred_score,
                                   row_K.exp() / row_K.exp().sum())


def test_predictions_join_the_labels_that_are_there() -> None:
    from mmpretrain.structures import DataSample
    given = [DataSample().set_gt_label(label) for label in (1, 0)]
    samples = with_predictions(torch.eye(2), given)
    assert [sample.gt_label.item() for sample in samples] == [1, 0]
    assert [sample.pred_label.item() for sample in samples] == [0, 1]
    assert samples[0] is given[0]


LOGITS_BK = torch.randn(2, 5)
OTHER_BK = torch.randn(2, 5)
Answer = namedtuple('Answer', ['scores', 'auxiliary'])


@pytest.mark.parametrize('output, part, expected_BK', [
    (LOGITS_BK, None, LOGITS_BK),
    (LOGITS_BK.bfloat16(), None, LOGITS_BK.bfloat16()),
    (LOGITS_BK[:, :, None, None], None, LOGITS_BK),
    (LOGITS_BK[:, :, None], None, LOGITS_BK),
    ((LOGITS_BK, ), None, LOGITS_BK),
    ([LOGITS_BK], None, LOGITS_BK),
    (dict(scores=LOGITS_BK), None, LOGITS_BK),
    (dict(scores=OTHER_BK, logits=LOGITS_BK), None, LOGITS_BK),
    (dict(scores=LOGITS_BK, logits=OTHER_BK), 'scores', LOGITS_BK),
    ((OTHER_BK, LOGITS_BK), 1, LOGITS_BK),
    ((OTHER_BK, LOGITS_BK), -1, LOGITS_BK),
    (Answer(OTHER_BK, LOGITS_BK), 1, LOGITS_BK),
    ((OTHER_BK, LOGITS_BK[:, :, None, None]), 1, LOGITS_BK),
    (torch.stack([OTHER_BK, LOGITS_BK]), 1, LOGITS_BK),
    ((OTHER_BK, LOGITS_BK), 'sum', OTHER_BK + LOGITS_BK),
    ([LOGITS_BK] * 3, 'sum', 3 * LOGITS_BK),
    (dict(a=OTHER_BK, b=LOGITS_BK), 'sum', OTHER_BK + LOGITS_BK),
    (LOGITS_BK, 'sum', LOGITS_BK),
])
def test_logits_are_taken_out_of_what_holds_them(output: object,
                                                 part: int | str | None,
                                                 expected_BK: Tensor) -> None:
    logits_BK = as_logits(output, 2, 'Net', part)
    assert logits_BK.dtype == expected_BK.dtype
    torch.testing.assert_close(logits_BK, expected_BK)


def test_logits_are_taken_out_of_what_hugging_face_returns() -> None:
    outputs = pytest.importorskip('transformers.modeling_outputs')
    output = outputs.ImageClassifierOutput(
        loss=torch.tensor(1.0), logits=LOGITS_BK, hidden_states=(OTHER_BK, ))
    assert as_logits(output, 2, 'Net', None) is LOGITS_BK
    assert as_logits(output, 2, 'Net', 'logits') is LOGITS_BK
    assert as_logits(output, 2, 'Net', 1) is LOGITS_BK


@pytest.mark.parametrize('output, part, shown', [
    (torch.zeros(2, 5, 7, 7), None, 'a tensor of (2, 5, 7, 7), float32'),
    (torch.zeros(2, 3, 5), None, 'a tensor of (2, 3, 5), float32'),
    (torch.zeros(2), None, 'a tensor of (2,), float32'),
    (torch.zeros(3, 5), None, 'a tensor of (3, 5), float32'),
    (torch.zeros(2, 5, dtype=torch.int64), None, 'a tensor of (2, 5), int64'),
    (torch.zeros(2, 5, dtype=torch.bool), None, 'a tensor of (2, 5), bool'),
    ((LOGITS_BK, OTHER_BK), None, 'tuple of (a tensor of (2, 5), float32, a '
     'tensor of (2, 5), float32)'),
    ([], None, 'list of ()'),
    (dict(a=LOGITS_BK, b=None), None,
     "dict of {'a': a tensor of (2, 5), float32, 'b': NoneType}"),
    (Answer(LOGITS_BK, OTHER_BK), None, 'Answer of (a tensor'),
    ([[LOGITS_BK]], None, 'list of (a tensor of (2, 5), float32)'),
    (dict(logits=None), None, 'NoneType'),
    ('logits', None, 'str'),
    ((LOGITS_BK, torch.zeros(2, 5, 7, 7)), 1, 'a tensor of (2, 5, 7, 7)'),
])
def test_what_holds_no_logits_is_refused_and_shown(output: object,
                                                   part: int | str | None,
                                                   shown: str) -> None:
    with pytest.raises(UserError) as caught:
        as_logits(output, 2, 'Net', part)
    assert 'Net must return one (batch, classes) tensor' in str(caught.value)
    assert f'got {shown}' in str(caught.value)
    assert 'model.teacher.output' in str(caught.value)


@pytest.mark.parametrize('output, part', [
    ((LOGITS_BK, OTHER_BK), 2),
    ((LOGITS_BK, OTHER_BK), 'logits'),
    (dict(a=LOGITS_BK), 'b'),
    (dict(a=LOGITS_BK), 0),
    (LOGITS_BK, 'a'),
    (LOGITS_BK, 7),
    (None, 0),
])
def test_a_part_that_is_not_there_names_the_field(output: object,
                                                  part: int | str) -> None:
    with pytest.raises(UserError) as caught:
        as_logits(output, 2, 'Net', part)
    assert f'no part {part!r}: change model.teacher.output' in str(
        caught.value)


@pytest.mark.parametrize('output', [
    (torch.zeros(2, 5), torch.zeros(2, 4)),
    (torch.zeros(2, 5), None),
    [],
    None,
])
def test_what_cannot_be_added_is_a_user_error(output: object) -> None:
    with pytest.raises(UserError, match='model.teacher.output'):
        as_logits(output, 2, 'Net', 'sum')


class SaysItsSize(nn.Module):
    """A network that keeps its size under some name."""

    def __init__(self, **attributes: object) -> None:
        super().__init__()
        for name, value in attributes.items():
            setattr(self, name, value)


@pytest.mark.parametrize('attributes, size', [
    (dict(img_size=24), (24, 24)),
    (dict(image_size=(24, 20)), (24, 20)),
    (dict(img_size=[24, 20]), (24, 20)),
    (dict(img_size=torch.Size((24, 20))), (24, 20)),
    (dict(img_size=None), None),
    (dict(img_size=(3, 24, 20)), None),
    (dict(size=24), None),
])
def test_a_network_may_know_its_size(attributes: dict,
                                     size: tuple[int, int] | None) -> None:
    assert own_input_size(SaysItsSize(**attributes)) == size
    within = nn.Sequential(nn.ReLU(), nn.Sequential(SaysItsSize(**attributes)))
    assert own_input_size(within) == size


def test_the_first_convolution_tells_the_channels() -> None:
    assert own_num_channels(
        nn.Sequential(nn.ReLU(), nn.Conv2d(2, 3, 1), nn.Conv2d(3, 4, 1))) == 2
    assert own_num_channels(nn.Linear(3, 4)) is None


@pytest.mark.parametrize('library, kind',
                         [('timm', 'TimmClassifier'),
                          ('transformers', 'HuggingFaceClassifier')])
def test_a_library_that_is_not_installed_comes_with_its_cure(
        monkeypatch: pytest.MonkeyPatch, library: str, kind: str) -> None:
    pytest.importorskip(library)
    # As if it could not be imported, whatever of it is imported already.
    for name in [*sys.modules, f'{library}.models']:
        if name.partition('.')[0] == library:
            monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UserError) as caught:
        build_classifier(dict(type=kind, model_name='x'))
    assert str(caught.value) == (
        f'{kind} needs {library}: run `pip install "tadfkd[{library}]"`')


@pytest.mark.parametrize('model, problem', [
    (dict(type='TimmClassifier', model_name='no_such_net'), "'no_such_net'"),
    (dict(type='HuggingFaceClassifier',
          model_name='no/such/folder'), "'no/such/folder'"),
])
def test_a_model_that_its_library_does_not_know_is_a_user_error(
        monkeypatch: pytest.MonkeyPatch, model: dict, problem: str) -> None:
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    with pytest.raises(UserError, match=problem) as caught:
        build_classifier(model)
    assert '\n' not in str(caught.value)
