"""A hopeless teacher ends the run before it begins."""
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config

from tadfkd.apis import distill, load_config, train
from tadfkd.errors import UserError


@pytest.fixture
def make_config(digits_config: str, tiny_options: dict[str, Any],
                tmp_path: Path) -> Callable[..., Config]:
    """A run of one epoch; keywords are options of the hook."""

    def make(**changes: Any) -> Config:
        options = tiny_options | {
            'train_cfg.max_epochs': 1
        } | {
            f'default_hooks.teacher_sanity.{key}': value
            for key, value in changes.items()
        }
        return load_config(digits_config, options, str(tmp_path / 'run'))

    return make


def test_a_teacher_below_the_bar_stops_the_run(make_config: Callable,
                                               tmp_path: Path) -> None:
    with pytest.raises(UserError, match='unusable: top-1 is .* %, 99.90 %'):
        train(make_config(min_top1=99.9))
    assert not list((tmp_path / 'run').glob('*.pth'))


def test_the_verdict_is_logged_and_the_accuracy_handed_on(
        make_config: Callable, tmp_path: Path) -> None:
    summary = distill(make_config()).summary
    assert summary['teacher_top1'] > 50
    log, = (tmp_path / 'run').glob('*/*.log')
    assert 'teacher: OK\n' in log.read_text()


def test_a_run_is_the_same_with_and_without_the_check(
        make_config: Callable) -> None:
    weights = []
    for with_hook in (True, False):
        config = make_config()
        if not with_hook:
            del config.default_hooks['teacher_sanity']
        weights.append(train(config).state_dict())
    first, second = weights
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
