"""Batches stay aligned, field by field and sample by sample."""
import pytest
import torch
from torch import Tensor

from tadfkd.structures import BNStatistics, SyntheticBatch, TeacherOutput


def numbered(start: int, stop: int) -> SyntheticBatch:
    """Every field of sample i holds i, or a multiple of i."""
    ids_B = torch.arange(start, stop)
    images_BCHW = ids_B.float()[:, None, None, None].expand(-1, 3, 2, 2)
    return SyntheticBatch(images_BCHW, ids_B, 10 * images_BCHW,
                          100 * ids_B.float()[:, None].expand(-1, 4))


def ids(batch: SyntheticBatch) -> list[int]:
    """The samples' numbers, after a check that all fields agree on them."""
    assert batch.labels_B is not None and batch.augmented_BCHW is not None
    assert batch.teacher_logits_BK is not None
    found = batch.labels_B.tolist()
    assert batch.images_BCHW[:, 0, 0, 0].tolist() == found
    assert batch.augmented_BCHW[:, 2, 1, 1].tolist() == [10 * i for i in found]
    assert batch.teacher_logits_BK[:, 3].tolist() == [100 * i for i in found]
    return found


@pytest.mark.parametrize('chosen', [[], [3], [0, 2, 5], [5, 1, 1]])
def test_take_gives_these_samples_in_this_order(chosen: list[int]) -> None:
    indices_M = torch.tensor(chosen, dtype=torch.long)
    assert ids(numbered(0, 6).take(indices_M)) == chosen


def test_taken_samples_carry_gradients_back_as_often_as_they_are_taken(
) -> None:
    images_BCHW = torch.ones(3, 1, 2, 2, requires_grad=True)
    taken = SyntheticBatch(images_BCHW).take(torch.tensor([2, 0, 2]))
    assert taken.labels_B is None and taken.augmented_BCHW is None
    taken.images_BCHW.sum().backward()
    assert images_BCHW.grad is not None
    assert images_BCHW.grad.sum((1, 2, 3)).tolist() == [4, 0, 8]


@pytest.mark.parametrize('size', [0, 2, 5])
def test_split_parts_the_samples_in_order(size: int) -> None:
    first, others = numbered(0, 5).split(size)
    assert ids(first) == list(range(size))
    assert ids(others) == list(range(size, 5))


def test_extend_appends_and_leaves_both_parts_as_they_are() -> None:
    one, other = numbered(0, 2), numbered(7, 10)
    assert ids(one.extend(other)) == [0, 1, 7, 8, 9]
    assert ids(one) == [0, 1] and ids(other) == [7, 8, 9]


def test_fields_that_are_not_known_stay_so() -> None:
    plain = SyntheticBatch(torch.rand(4, 1, 2, 2))
    for batch in (plain.take(torch.arange(2)), plain.split(2)[1],
                  plain.detach(), plain.extend(plain)):
        assert batch.labels_B is None and batch.augmented_BCHW is None
        assert batch.teacher_logits_BK is None


def test_batches_of_different_fields_do_not_mix() -> None:
    plain = SyntheticBatch(torch.rand(2, 3, 2, 2))
    with pytest.raises(AssertionError, match='labels_B'):
        plain.extend(numbered(0, 2))


def test_detach_cuts_the_graph_of_every_field_and_keeps_the_values() -> None:
    leaf = torch.rand(2, 1, 2, 2, requires_grad=True)
    batch = SyntheticBatch(
        leaf * 2,
        augmented_BCHW=leaf * 3,
        teacher_logits_BK=leaf.flatten(1) * 4)
    detached = batch.detach()
    assert torch.equal(detached.images_BCHW, batch.images_BCHW)
    for values in (detached.images_BCHW, detached.augmented_BCHW,
                   detached.teacher_logits_BK):
        assert values is not None and not values.requires_grad
    # The original is unharmed.
    assert batch.images_BCHW.requires_grad


def test_the_augmented_view_enters_the_losses_where_there_is_one() -> None:
    images_BCHW = torch.rand(2, 1, 2, 2)
    assert SyntheticBatch(images_BCHW).views_BCHW is images_BCHW
    augmented_BCHW = 1 - images_BCHW
    batch = SyntheticBatch(images_BCHW, augmented_BCHW=augmented_BCHW)
    assert batch.views_BCHW is augmented_BCHW


def numbered_output(count: int, scale: Tensor | None = None) -> TeacherOutput:
    """Every field of sample i holds i, or a multiple of i."""
    ids_B = torch.arange(count).float() * (1 if scale is None else scale)
    statistics = BNStatistics(ids_B, ids_B, ids_B, ids_B)
    return TeacherOutput(
        ids_B[:, None].expand(-1, 4), 10 * ids_B[:, None].expand(-1, 6),
        (statistics, ),
        (100 * ids_B[:, None, None, None].expand(-1, 2, 4, 4),
         1000 * ids_B[:, None, None, None].expand(-1, 3, 2, 2)),
        (20 * ids_B[:, None, None, None].expand(-1, 2, 4, 4),
         30 * ids_B[:, None, None, None].expand(-1, 3, 2, 2)))


def output_ids(output: TeacherOutput) -> list[int]:
    """The samples' numbers, after a check that all fields agree on them."""
    assert output.features_BF is not None and output.maps is not None
    found = output.logits_BK[:, 3].int().tolist()
    assert output.features_BF[:, 5].tolist() == [10 * i for i in found]
    high, low = output.maps
    assert high[:, 1, 3, 3].tolist() == [100 * i for i in found]
    assert low[:, 2, 1, 1].tolist() == [1000 * i for i in found]
    assert output.map_gradients is not None
    high, low = output.map_gradients
    assert high[:, 1, 3, 3].tolist() == [20 * i for i in found]
    assert low[:, 2, 1, 1].tolist() == [30 * i for i in found]
    return found


@pytest.mark.parametrize('chosen', [[], [3], [0, 2, 5], [5, 1, 1]])
def test_output_take_gives_these_samples_in_all_fields(
        chosen: list[int]) -> None:
    indices_M = torch.tensor(chosen, dtype=torch.long)
    assert output_ids(numbered_output(6).take(indices_M)) == chosen


def test_output_take_leaves_out_what_is_of_the_whole_batch() -> None:
    output = numbered_output(6)
    assert output.take(torch.arange(6)).bn_statistics is None
    assert output.detach().bn_statistics is None
    # The original is unharmed.
    assert output.bn_statistics is not None


def test_output_take_keeps_the_graph_of_what_is_taken() -> None:
    scale = torch.ones(4, requires_grad=True)
    taken = numbered_output(4, scale).take(torch.tensor([1, 3]))
    assert taken.maps is not None and taken.features_BF is not None
    (taken.logits_BK.sum() + taken.features_BF.sum() +
     taken.maps[1].sum()).backward()
    # Sample i: 4 i of the logits, 60 i of the features, 12000 i of the map.
    assert scale.grad is not None
    assert scale.grad.tolist() == [0, 12064, 0, 3 * 12064]


def test_output_detach_cuts_the_graph_of_every_field_and_keeps_the_values(
) -> None:
    output = numbered_output(4, torch.ones(4, requires_grad=True))
    detached = output.detach()
    assert output_ids(detached) == [0, 1, 2, 3]
    assert detached.features_BF is not None and detached.maps is not None
    assert detached.map_gradients is not None
    for values in (detached.logits_BK, detached.features_BF, *detached.maps,
                   *detached.map_gradients):
        assert not values.requires_grad
    assert output.logits_BK.requires_grad


def test_output_parts_that_were_not_asked_for_stay_so() -> None:
    plain = TeacherOutput(torch.rand(3, 2))
    for output in (plain.take(torch.tensor([1])), plain.detach()):
        assert output.features_BF is None and output.maps is None
        assert output.bn_statistics is None
