"""Pictures of what the generator makes."""
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from tadfkd.algorithms import BaseDFKD
from tadfkd.engine.hooks import SampleGridHook
from tadfkd.engine.hooks import sample_grid as module


@pytest.fixture
def runner(tiny_model: BaseDFKD, tiny_config: Config,
           tmp_path: Path) -> SimpleNamespace:
    """What the hook asks a Runner for, in the first of ten epochs."""
    shown = []
    return SimpleNamespace(
        model=tiny_model,
        cfg=tiny_config,
        seed=5,
        work_dir=str(tmp_path),
        epoch=0,
        max_epochs=10,
        logger=logging.getLogger('test_sample_grid'),
        shown=shown,
        visualizer=SimpleNamespace(add_image=lambda name, pixels_HWC, step:
                                   shown.append((name, pixels_HWC, step))))


def test_the_figure_has_what_the_teacher_and_the_selector_say(
        runner: SimpleNamespace, monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path) -> None:
    drawn: list[Any] = []
    draw = module.draw_samples
    monkeypatch.setattr(
        module, 'draw_samples', lambda *arguments:
        (drawn.append(arguments), draw(*arguments))[1])
    images_BCHW = runner.model.synthesize(12, 'sample_grid')
    output = runner.model.teacher(images_BCHW)
    probability_B, classes_B = output.logits_BK.softmax(1).max(1)
    kept_B = runner.model.candidates.selector.select(output)
    # Pixels outside of [0, 1] are clipped, and the last image is left out.
    images_BCHW[0, 0, 0, :2] = torch.tensor([-0.5, 1.5])
    images_BCHW[-1] = torch.nan
    monkeypatch.setattr(runner.model, 'synthesize',
                        lambda size, purpose: images_BCHW[:size])
    SampleGridHook(num_images=12).after_train_epoch(runner)
    (pixels_BHWC, classes, confidence, kept, names, caption, *_), = drawn
    assert pixels_BHWC.shape == (11, 16, 16, 1)
    assert pixels_BHWC[0, 0, :2, 0].tolist() == [0, 255]
    assert classes[1:] == classes_B[1:-1].tolist()
    assert confidence[1:] == pytest.approx(probability_B[1:-1].tolist())
    assert len(kept) == 11 and 0 < kept_B.sum() < 12
    assert names == [str(i) for i in range(10)]
    assert caption[0].endswith('seed 5, epoch 1')
    found = len({*classes})
    assert f'{found} of 10 classes; 1 images are not finite' in caption[1]
    assert 'GMMSelector' in caption[2]

    written = (tmp_path / 'samples.png').read_bytes()
    assert (tmp_path / 'samples' / 'epoch_1.png').read_bytes() == written
    (name, shown_HWC, step), = runner.shown
    assert (name, step) == ('samples', 1)
    with Image.open(tmp_path / 'samples.png') as picture:
        assert picture.format == 'PNG'
        np.testing.assert_array_equal(shown_HWC, np.asarray(picture))


def test_the_first_epoch_the_interval_and_the_end_have_a_figure(
        runner: SimpleNamespace, tmp_path: Path) -> None:
    hook = SampleGridHook(num_images=2, interval=3)
    for runner.epoch in range(5):
        hook.after_train_epoch(runner)
    runner.epoch = 5
    hook.after_train(runner)
    assert sorted(path.name for path in (tmp_path / 'samples').iterdir()) == [
        'epoch_1.png', 'epoch_3.png', 'epoch_5.png'
    ]


def test_a_figure_changes_nothing_in_the_model(
        runner: SimpleNamespace) -> None:
    model = runner.model.train()
    before = torch.get_rng_state(), model.training_state()
    weights = {
        name: value.clone()
        for name, value in model.state_dict().items()
    }
    SampleGridHook(num_images=4).after_train_epoch(runner)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert model.training_state() == before[1]
    assert all(
        torch.equal(value, weights[name])
        for name, value in model.state_dict().items())
    assert model.generator.training and model.student.training


def test_a_grid_that_fails_does_not_end_the_run(
        runner: SimpleNamespace, monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture) -> None:
    hook = SampleGridHook(num_images=2)

    def fail(*_: object, **__: object) -> NoReturn:
        raise errors.pop()

    errors: list[Exception] = [OSError('disk full'), KeyError('five')]
    monkeypatch.setattr(runner.model, 'synthesize', fail)
    hook.after_train_epoch(runner)
    assert "SampleGridHook has shown nothing (KeyError: 'five')" in caplog.text
    with pytest.raises(OSError, match='disk full'):
        hook.after_train_epoch(runner)
