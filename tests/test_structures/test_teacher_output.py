"""The teacher's answers stay aligned, sample by sample."""
import pytest
import torch
from torch import Tensor

from tadfkd.structures import BNStatistics, TeacherOutput


def numbered(count: int, scale: Tensor | None = None) -> TeacherOutput:
    """Every field of sample i holds i, or a multiple of i."""
    ids_B = torch.arange(count).float() * (1 if scale is None else scale)
    statistics = BNStatistics(ids_B, ids_B, ids_B, ids_B)
    return TeacherOutput(
        ids_B[:, None].expand(-1, 4), 10 * ids_B[:, None].expand(-1, 6),
        (statistics, ),
        (100 * ids_B[:, None, None, None].expand(-1, 2, 4, 4),
         1000 * ids_B[:, None, None, None].expand(-1, 3, 2, 2)))


def ids(output: TeacherOutput) -> list[int]:
    """The samples' numbers, after a check that all fields agree on them."""
    assert output.features_BF is not None and output.maps is not None
    found = output.logits_BK[:, 3].int().tolist()
    assert output.features_BF[:, 5].tolist() == [10 * i for i in found]
    high, low = output.maps
    assert high[:, 1, 3, 3].tolist() == [100 * i for i in found]
    assert low[:, 2, 1, 1].tolist() == [1000 * i for i in found]
    return found


@pytest.mark.parametrize('chosen', [[], [3], [0, 2, 5], [5, 1, 1]])
def test_take_gives_the_answers_to_these_samples_in_all_fields(
        chosen: list[int]) -> None:
    indices_M = torch.tensor(chosen, dtype=torch.long)
    assert ids(numbered(6).take(indices_M)) == chosen


def test_take_leaves_out_what_is_of_the_whole_batch() -> None:
    output = numbered(6)
    assert output.take(torch.arange(6)).bn_statistics is None
    assert output.detach().bn_statistics is None
    # The original is unharmed.
    assert output.bn_statistics is not None


def test_take_keeps_the_graph_of_what_is_taken() -> None:
    scale = torch.ones(4, requires_grad=True)
    taken = numbered(4, scale).take(torch.tensor([1, 3]))
    assert taken.maps is not None and taken.features_BF is not None
    (taken.logits_BK.sum() + taken.features_BF.sum() +
     taken.maps[1].sum()).backward()
    # Sample i: 4 i of the logits, 60 i of the features, 12000 i of the map.
    assert scale.grad is not None
    assert scale.grad.tolist() == [0, 12064, 0, 3 * 12064]


def test_detach_cuts_the_graph_of_every_field_and_keeps_the_values() -> None:
    output = numbered(4, torch.ones(4, requires_grad=True))
    detached = output.detach()
    assert ids(detached) == [0, 1, 2, 3]
    assert detached.features_BF is not None and detached.maps is not None
    for values in (detached.logits_BK, detached.features_BF, *detached.maps):
        assert not values.requires_grad
    assert output.logits_BK.requires_grad


def test_parts_that_were_not_asked_for_stay_so() -> None:
    plain = TeacherOutput(torch.rand(3, 2))
    for output in (plain.take(torch.tensor([1])), plain.detach()):
        assert output.features_BF is None and output.maps is None
        assert output.bn_statistics is None
