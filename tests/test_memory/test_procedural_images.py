"""The set that the teacher chooses."""
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from tadfkd.errors import UserError
from tadfkd.memory import ProceduralImages


def by_brightness(images_BCHW: Tensor) -> Any:
    """A teacher that sees class 0 in most images, and class 3 never."""
    mean_B = images_BCHW.mean((1, 2, 3))
    edges = torch.tensor([-1.0, 0.53, 0.56, 9.0])
    logits_BK = torch.zeros(len(mean_B), 4)
    labels_B = (mean_B[:, None] > edges[1:]).sum(1)
    logits_BK[torch.arange(len(mean_B)), labels_B] = 4.0
    return SimpleNamespace(logits_BK=logits_BK)


def made(teacher: Any = by_brightness, **arguments: Any) -> ProceduralImages:
    procedural = ProceduralImages(**dict(
        families=[dict(type='Blobs')],
        size=60,
        num_candidates=600,
        image_size=8,
        image_channels=1) | arguments)
    procedural.make(teacher, torch.Generator().manual_seed(5))
    return procedural


def test_its_classes_are_as_frequent_as_the_candidates_allow() -> None:
    procedural = made()
    images_BCHW = procedural.sample(2000, torch.Generator().manual_seed(0))
    assert len(images_BCHW.unique(dim=0)) == 60
    unique = images_BCHW.unique(dim=0)
    counts = by_brightness(unique).logits_BK.argmax(1).bincount(minlength=4)
    assert counts[3] == 0
    # Without the choice class 0 has most of them.
    assert counts[:3].tolist() == [20, 20, 20]


def test_the_deviation_is_that_of_the_logits_within_a_sample() -> None:
    # Four logits, three of them 0 and one 4.
    assert made().logit_deviation == pytest.approx(3**0.5)


def test_the_same_stream_gives_the_same_set() -> None:
    one, other = (
        made().sample(50,
                      torch.Generator().manual_seed(1)) for _ in range(2))
    assert one.equal(other)


def test_a_teacher_without_finite_answers_is_refused() -> None:

    def broken(images_BCHW: Tensor) -> Any:
        return SimpleNamespace(
            logits_BK=torch.full((len(images_BCHW), 3), torch.nan))

    with pytest.raises(UserError, match='no procedural image with finite'):
        made(broken)


@pytest.mark.parametrize('change, words', [
    (dict(size=1), 'size'),
    (dict(num_candidates=50), 'num_candidates'),
    (dict(share=1.5), r'share must be in \[0, 1\]'),
    (dict(alone=-0.1), r'alone must be in \[0, 1\]'),
])
def test_what_cannot_be_is_refused(change: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        made(**change)


def test_each_class_has_the_images_that_the_teacher_is_surest_of(
        monkeypatch: pytest.MonkeyPatch) -> None:
    # The same draws, whatever the size.
    monkeypatch.setattr(ProceduralImages, 'CHUNK', 20)

    def by_contrast(images_BCHW: Tensor) -> Any:
        """Two classes by brightness; surer of images with more contrast."""
        deviation_B = images_BCHW.std((1, 2, 3))
        sign_B = (images_BCHW.mean((1, 2, 3)) - 0.5).sign()
        return SimpleNamespace(
            logits_BK=torch.stack((sign_B * deviation_B,
                                   -sign_B * deviation_B), 1))

    # One set draws all candidates at once, the other in ten parts.
    chosen, everything = (
        made(by_contrast,
             size=size).sample(9999,
                               torch.Generator().manual_seed(0)).unique(dim=0)
        for size in (60, 600))
    logits_BK = by_contrast(everything).logits_BK
    for label in range(2):
        best = logits_BK[:, label].topk(30).indices
        assert all((chosen == everything[index]).all((1, 2, 3)).any()
                   for index in best)
