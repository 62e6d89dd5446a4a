"""One tensor of logits from the output of any network."""
from collections import namedtuple

import pytest
import torch
from torch import Tensor

from tadfkd.classifiers.outputs import as_logits, with_predictions
from tadfkd.errors import UserError


def test_predictions_are_the_softmax_and_its_argmax() -> None:
    logits_BK = torch.tensor([[0.0, 0.0, 2.0], [3.0, 0.0, 0.0]]).bfloat16()
    samples = with_predictions(logits_BK, None)
    assert [sample.pred_label.item() for sample in samples] == [2, 0]
    for sample, row_K in zip(samples, logits_BK.float()):
        assert sample.pred_score.dtype == torch.float32
        torch.testing.assert_close(sample.pred_score,
                                   row_K.exp() / row_K.exp().sum())


def test_classes_that_are_judged_one_by_one_are_scored_so() -> None:
    logits_BK = torch.tensor([[1.0, -2.0, 0.0], [-1.0, -1.0, -3.0]])
    samples = with_predictions(logits_BK, None, 'sigmoid')
    for sample, row_K in zip(samples, logits_BK):
        torch.testing.assert_close(sample.pred_score, 1 / (1 + (-row_K).exp()))
    assert [sample.pred_label.tolist() for sample in samples] == [[0, 2], []]


LOGITS_BK = torch.randn(2, 5)
OTHER_BK = torch.randn(2, 5)
Answer = namedtuple('Answer', ['scores', 'auxiliary'])


@pytest.mark.parametrize('output, part, expected_BK', [
    (LOGITS_BK, None, LOGITS_BK),
    (LOGITS_BK[:, :, None, None], None, LOGITS_BK),
    ((LOGITS_BK, ), None, LOGITS_BK),
    (dict(scores=LOGITS_BK), None, LOGITS_BK),
    (dict(scores=OTHER_BK, logits=LOGITS_BK), None, LOGITS_BK),
    (dict(scores=LOGITS_BK, logits=OTHER_BK), 'scores', LOGITS_BK),
    ((OTHER_BK, LOGITS_BK), 1, LOGITS_BK),
    (Answer(OTHER_BK, LOGITS_BK), 1, LOGITS_BK),
    (torch.stack([OTHER_BK, LOGITS_BK]), 1, LOGITS_BK),
    ((OTHER_BK, LOGITS_BK), 'sum', OTHER_BK + LOGITS_BK),
    (dict(a=OTHER_BK, b=LOGITS_BK), 'sum', OTHER_BK + LOGITS_BK),
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
    (torch.zeros(3, 5), None, 'a tensor of (3, 5), float32'),
    (torch.zeros(2, 5, dtype=torch.int64), None, 'a tensor of (2, 5), int64'),
    ((LOGITS_BK, OTHER_BK), None, 'tuple of (a tensor of (2, 5), float32, a '
     'tensor of (2, 5), float32)'),
    (dict(a=LOGITS_BK, b=None), None,
     "dict of {'a': a tensor of (2, 5), float32, 'b': NoneType}"),
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
