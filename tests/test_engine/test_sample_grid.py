"""Pictures of what the generator makes."""
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import numpy as np
import pytest
import torch
from PIL import Image

from tadfkd.algorithms import BaseDFKD
from tadfkd.engine.hooks import SampleGridHook


def read_pixels(path: Path) -> np.ndarray:
    """A picture as uint8 RGB, shape (H, W, 3)."""
    with Image.open(path) as picture:
        assert picture.format == 'PNG'
        return np.asarray(picture.convert('RGB'))


@pytest.fixture
def runner(tiny_model: BaseDFKD, tmp_path: Path) -> SimpleNamespace:
    """What the hook asks a Runner for, in the last of ten epochs."""
    shown = []
    return SimpleNamespace(
        model=tiny_model,
        work_dir=str(tmp_path),
        epoch=9,
        max_epochs=10,
        shown=shown,
        visualizer=SimpleNamespace(add_image=lambda name, pixels_HWC, step:
                                   shown.append((name, pixels_HWC, step))))


def test_the_grid_has_the_generated_images_enlarged_in_rows(
        runner: SimpleNamespace, tmp_path: Path) -> None:
    SampleGridHook(
        num_images=5, columns=3, min_side=40).after_train_epoch(runner)
    pixels_HWC = read_pixels(tmp_path / 'samples.png')
    assert (tmp_path / 'samples' /
            'epoch_10.png').read_bytes() == (tmp_path /
                                             'samples.png').read_bytes()
    (name, shown_HWC, step), = runner.shown
    assert (name, step) == ('samples', 10)
    np.testing.assert_array_equal(shown_HWC, pixels_HWC)
    # Images of 16x16 become 32x32: whole factors only, 40 // 16. Each has
    # two pixels around it.
    assert pixels_HWC.shape == (2 * 34 + 2, 3 * 34 + 2, 3)
    pixels_HW = pixels_HWC[..., 0]
    assert (pixels_HWC == pixels_HW[..., None]).all()
    images_BHW = runner.model.synthesize(5, 'sample_grid')[:, 0].numpy()
    for i, image_HW in enumerate(images_BHW):
        top, left = 2 + 34 * (i // 3), 2 + 34 * (i % 3)
        np.testing.assert_array_equal(
            pixels_HW[top:top + 32, left:left + 32],
            np.kron(np.round(image_HW * 255), np.ones((2, 2))))
    # The sixth place is empty.
    assert not pixels_HW[36:68, 70:102].any()


def test_pixels_outside_of_an_image_are_clipped(
        runner: SimpleNamespace, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    images_BCHW = torch.tensor([-0.5, 1.5]).view(2, 1, 1, 1).expand(2, 1, 8, 8)
    monkeypatch.setattr(runner.model, 'synthesize',
                        lambda size, purpose: images_BCHW)
    SampleGridHook(num_images=2, columns=2).after_train_epoch(runner)
    pixels_HW = read_pixels(tmp_path / 'samples.png')[..., 0]
    assert (pixels_HW[2:34, 2:34] == 0).all()
    assert (pixels_HW[2:34, 36:68] == 255).all()


@pytest.mark.parametrize('channels, shown', [(2, [0, 0, 0]), (5, [0, 1, 2])])
def test_images_of_other_channels_are_shown_too(
        runner: SimpleNamespace, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch, channels: int,
        shown: list[int]) -> None:
    images_BCHW = torch.rand(2, channels, 32, 32)
    monkeypatch.setattr(runner.model, 'synthesize',
                        lambda size, purpose: images_BCHW)
    SampleGridHook(num_images=2, columns=2).after_train_epoch(runner)
    expected_HWC = images_BCHW[0, shown].mul(255).round().permute(1, 2, 0)
    np.testing.assert_array_equal(
        read_pixels(tmp_path / 'samples.png')[2:34, 2:34], expected_HWC)


def test_a_grid_that_fails_does_not_end_the_run(
        runner: SimpleNamespace, monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture) -> None:
    runner.logger = logging.getLogger('test_sample_grid')
    hook = SampleGridHook(num_images=2)

    def fail(*_: object, **__: object) -> NoReturn:
        raise errors.pop()

    errors: list[Exception] = [OSError('disk full'), KeyError('five')]
    monkeypatch.setattr(runner.model, 'synthesize', fail)
    hook.after_train_epoch(runner)
    assert "SampleGridHook has shown nothing (KeyError: 'five')" in caplog.text
    with pytest.raises(OSError, match='disk full'):
        hook.after_train_epoch(runner)
