"""Images of this run and no other, as floats, with or without rounding."""
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from tadfkd.errors import UserError
from tadfkd.memory import ImagePool


def stream() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize('memory_mapped', [False, True])
def test_floats_come_back_as_they_are(memory_mapped: bool) -> None:
    pool = ImagePool(10, memory_mapped=memory_mapped)
    images_BCHW = torch.rand(6, 3, 4, 4)
    pool.add(images_BCHW)
    assert torch.equal(pool.rows(), images_BCHW)
    drawn_BCHW = pool.sample(40, stream())
    for image_CHW in drawn_BCHW:
        assert (images_BCHW == image_CHW).all((1, 2, 3)).sum() == 1


def test_bytes_round_to_the_nearest_of_256_values() -> None:
    pool = ImagePool(10, 'uint8')
    images_BCHW = torch.rand(6, 3, 4, 4)
    pool.add(images_BCHW)
    expected = np.rint(images_BCHW.double().numpy() * 255) / 255
    found_BCHW = pool.rows()
    assert found_BCHW.dtype == torch.float32
    np.testing.assert_allclose(found_BCHW, expected, rtol=1e-6)
    assert (found_BCHW - images_BCHW).abs().max() <= 0.5 / 255 + 1e-6
    sample_BCHW = pool.sample(9, stream())
    assert sample_BCHW.dtype == torch.float32
    assert sample_BCHW.max() <= 1


def test_each_of_the_256_values_stays_itself() -> None:
    values = torch.arange(256) / 255
    pool = ImagePool(256, 'uint8')
    pool.add(values.view(-1, 1, 1, 1))
    assert torch.equal(pool.rows().flatten(), values)
    # Again and again: what is stored does not drift.
    pool.add(pool.rows())
    assert torch.equal(pool.rows().flatten(), values)


def test_bytes_are_stored_as_such(tmp_path: Path) -> None:
    size = {}
    for dtype in ('float32', 'uint8'):
        pool = ImagePool(100, dtype)
        pool.add(torch.rand(100, 3, 8, 8))
        torch.save(pool.state_dict(), tmp_path / dtype)
        size[dtype] = (tmp_path / dtype).stat().st_size
    assert size['uint8'] < 0.3 * size['float32']


def test_images_with_a_graph_are_stored_without() -> None:
    for dtype in ('float32', 'uint8'):
        pool = ImagePool(4, dtype)
        pool.add(torch.rand(4, 1, 2, 2, requires_grad=True) * 1)
        assert not pool.rows().requires_grad


@pytest.mark.parametrize('dtype', ['float32', 'uint8'])
@pytest.mark.parametrize('memory_mapped', [False, True])
def test_a_pool_goes_on_exactly_after_a_restart(tmp_path: Path, dtype: str,
                                                memory_mapped: bool) -> None:
    config = dict(capacity=9, dtype=dtype, memory_mapped=memory_mapped)
    pool, other = (ImagePool.from_config(config) for _ in range(2))
    pool.add(torch.rand(13, 1, 4, 4))
    other.add(torch.rand(2, 1, 4, 4))
    torch.save(pool.state_dict(), tmp_path / 'pool.pth')
    other.load_state_dict(torch.load(tmp_path / 'pool.pth', weights_only=True))
    for _ in range(3):
        assert torch.equal(other.rows(), pool.rows())
        assert torch.equal(
            other.sample(20, stream()), pool.sample(20, stream()))
        images_BCHW = torch.rand(4, 1, 4, 4)
        for either in (pool, other):
            either.add(images_BCHW)


@pytest.mark.parametrize('saved, wanted', [('float32', 'uint8'),
                                           ('uint8', 'float32')])
def test_a_pool_of_the_other_dtype_is_refused(saved: str, wanted: str) -> None:
    # Bytes taken for floats are white images, floats for bytes black ones.
    pool = ImagePool(4, saved)
    pool.add(torch.rand(2, 1, 2, 2))
    with pytest.raises(
            UserError, match=f'{saved}.*model.pool.dtype.*{wanted}'):
        ImagePool(4, wanted).load_state_dict(pool.state_dict())
    # An empty one has no images to be mistaken.
    other = ImagePool(4, wanted)
    other.load_state_dict(ImagePool(4, saved).state_dict())
    assert len(other) == 0


def test_no_run_sees_the_images_of_another(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Public code mixes what earlier runs left in its folder.
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for memory_mapped in (False, True):
        first = ImagePool(6, 'uint8', memory_mapped)
        first.add(torch.ones(6, 1, 2, 2))
        second = ImagePool(6, 'uint8', memory_mapped)
        assert len(second) == 0
        second.add(torch.zeros(2, 1, 2, 2))
        assert not second.sample(100, stream()).any()
        first.add(torch.ones(2, 1, 2, 2))
        assert first.rows().all() and not second.rows().any()
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize('config, changed', [
    (dict(capacity=0), 'model.pool.capacity'),
    (dict(capacity='many'), 'model.pool.capacity'),
    (dict(capacity=4, dtype='float16'), 'model.pool.dtype'),
    (dict(), 'model.pool cannot be used .*capacity'),
    (dict(capacity=4, folder='x'), 'model.pool cannot be used .*folder'),
])
def test_a_config_that_makes_no_pool_says_what_to_change(
        config: dict, changed: str) -> None:
    with pytest.raises(UserError, match=changed):
        ImagePool.from_config(config)


def test_an_image_without_a_finite_answer_is_not_stored() -> None:
    images_BCHW = torch.arange(6.0).view(6, 1, 1, 1) / 6
    images_BCHW[1] = torch.nan

    def answer(images_BCHW: torch.Tensor) -> torch.Tensor:
        assert images_BCHW.isfinite().all()
        logits_BK = images_BCHW.flatten(1).repeat(1, 2)
        return logits_BK.masked_fill(logits_BK == 0, torch.inf)

    pool = ImagePool(4, answer=answer)
    for part in images_BCHW.split(3):
        pool.add(part)
    assert len(pool) == 4
    drawn_BCHW, answers_BK = pool.draw(20, stream())
    assert answers_BK is not None
    assert torch.equal(answers_BK, drawn_BCHW.flatten(1).repeat(1, 2))
    assert 0 < answers_BK.min()
    # None of them is finite.
    pool.add(torch.full((2, 1, 1, 1), torch.inf))
    assert len(pool) == 4
    pool.clear()
    pool.add(images_BCHW[2:3])
    assert pool.draw(2, stream())[1] is not None
