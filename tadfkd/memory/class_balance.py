"""Which samples to take, so that no class outnumbers the others?"""
import torch
from torch import Tensor
from torch.nn import functional


def most_balanced(labels_N: Tensor, size: int) -> Tensor:
    """indices_S of distinct samples, whose classes are as equally frequent as
    the labels allow; of each class, the first ones.

    Args:
        labels_N: Class ids, at least one.
        size: S, at most N.

    Example:
        >>> most_balanced(torch.tensor([0, 0, 0, 1, 2, 2]), 4)
        tensor([0, 3, 4, 1])
    """
    # Of each sample: the how-many-th of its class it is.
    places_NK = functional.one_hot(labels_N).cumsum(0)
    place_N = places_NK.gather(1, labels_N[:, None]).squeeze(1)
    return place_N.argsort(stable=True)[:size]


def class_balanced(labels_N: Tensor, size: int,
                   stream: torch.Generator) -> Tensor:
    """indices_S, drawn with replacement, of equally frequent classes.

    Only the classes that occur are drawn.

    Args:
        labels_N: Class ids, at least one.
        size: S.
        stream: On the device of the labels.

    Example:
        >>> labels_N = torch.tensor([0] * 999 + [1])
        >>> indices_S = class_balanced(labels_N, 400, torch.Generator())
        >>> 150 < int((indices_S == 999).sum()) < 250
        True
    """
    weights_N = 1 / labels_N.bincount()[labels_N].double()
    return weights_N.multinomial(size, True, generator=stream)
