"""Classes that are equally frequent, with and without replacement."""
import torch

from tadfkd.memory import class_balanced, most_balanced


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_distinct_samples_fill_up_in_turn() -> None:
    labels_N = torch.tensor([2, 2, 2, 2, 2, 0, 1, 1])
    for size, counts in ((3, [1, 1, 1]), (6, [1, 2, 3]), (8, [1, 2, 5])):
        indices_S = most_balanced(labels_N, size)
        assert len(indices_S.unique()) == size
        assert labels_N[indices_S].bincount().tolist() == counts


def test_classes_are_drawn_equally_often() -> None:
    # Class 2 never occurs, and class 4 once.
    labels_N = torch.tensor([0] * 60 + [1] * 30 + [4])
    drawn_S = class_balanced(labels_N, 900, stream())
    counts = labels_N[drawn_S].bincount(minlength=5).tolist()
    assert counts[2] == counts[3] == 0
    for label in (0, 1, 4):
        assert 250 < counts[label] < 350
    # All samples of a class are drawn.
    assert len(drawn_S.unique()) > 85


def test_a_balanced_draw_is_that_of_its_stream() -> None:
    labels_N = torch.tensor([3, 3, 3, 0])
    assert class_balanced(labels_N, 20, stream(1)).equal(
        class_balanced(labels_N, 20, stream(1)))
