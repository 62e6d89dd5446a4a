"""Checkpoints that are whole, and of which there is always one."""
import os
import resource
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from tadfkd.apis import train
from tadfkd.checkpoints.reading import read_checkpoint
from tadfkd.checkpoints.resume_point import newest_intact
from tadfkd.errors import UserError
from tadfkd.registry import HOOKS


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names that files get, and with a minus those that are removed."""
    found: list[str] = []
    replace, unlink = os.replace, Path.unlink

    def record_unlink(path: Path, missing_ok: bool = False) -> None:
        found.append(f'-{path.name}')
        unlink(path, missing_ok)

    def record_replace(source: str, target: str) -> None:
        replace(source, target)
        found.append(Path(target).name)

    monkeypatch.setattr(os, 'replace', record_replace)
    monkeypatch.setattr(Path, 'unlink', record_unlink)
    return found


@HOOKS.register_module()
class EverBetter(Hook):
    """Says that each epoch is better than the one before."""

    def after_val_epoch(self, runner: Runner, metrics: Any = None) -> None:
        """Before the CheckpointHook, in the dictionary of all hooks."""
        metrics['accuracy/top1'] = 10.0 * runner.epoch


def test_the_old_is_removed_when_the_new_is_safe_and_named(
        tiny_config: Config, events: list[str]) -> None:
    tiny_config.default_hooks.checkpoint.max_keep_ckpts = 1
    tiny_config.default_hooks.checkpoint.save_best = 'accuracy/top1'
    tiny_config.custom_hooks = [dict(type='EverBetter')]
    train(tiny_config)
    one, two = 'epoch_1.pth', 'epoch_2.pth'
    best = 'best_accuracy_top1_epoch_{}.pth'.format
    # The best is only known when the epoch has been saved; it is saved again
    # with the name of the best.
    assert [event for event in events
            if '.pth' in event or 'last' in event] == [
                one, 'last_checkpoint',
                best(1), one, 'last_checkpoint', two, 'last_checkpoint',
                f'-{one}',
                best(2), two, 'last_checkpoint', f'-{best(1)}'
            ]
    work_dir = Path(tiny_config.work_dir)
    left = {path.name for path in work_dir.glob('*.pth')}
    assert left == {two, best(2)}
    checkpoint = read_checkpoint(work_dir / two)
    info = checkpoint['message_hub']['runtime_info']
    assert info['best_ckpt'] == str(work_dir / best(2))
    assert info['best_score'] == 20
    assert checkpoint['train_loop']['validation_is_due'] is False


def test_what_a_killed_run_left_is_removed_by_the_next(
        tiny_config: Config) -> None:
    work_dir = Path(tiny_config.work_dir)
    tiny_config.default_hooks.checkpoint.max_keep_ckpts = 1
    tiny_config.train_cfg.max_epochs = 1
    train(tiny_config)
    # As if it had been killed before it removed an epoch, and while it wrote.
    path = work_dir / 'epoch_1.pth'
    (work_dir / '.epoch_2.pth.123.tmp').write_bytes(b'half')
    tiny_config.train_cfg.max_epochs = 2
    tiny_config.resume = True
    content = path.read_bytes()
    train(tiny_config)
    assert not path.exists()
    path.write_bytes(content)
    tiny_config.train_cfg.max_epochs = 3
    train(tiny_config)
    assert {path.name for path in work_dir.glob('*.pth*')} == {'epoch_3.pth'}
    assert not [*work_dir.glob('.*')]


@pytest.fixture
def saved(tiny_config: Config) -> Config:
    """Of a run that has saved its first epoch and is to go on."""
    tiny_config.train_cfg.max_epochs = 1
    train(tiny_config)
    tiny_config.train_cfg.max_epochs = 2
    tiny_config.resume = True
    return tiny_config


def assert_first_epoch_is_intact(work_dir: Path) -> None:
    """And nothing of the second one is there."""
    assert newest_intact(work_dir) == (work_dir / 'epoch_1.pth', [])
    assert 'epoch_1.pth' in (work_dir / 'last_checkpoint').read_text()
    assert {path.name for path in work_dir.glob('*.pth')} == {'epoch_1.pth'}
    assert not [*work_dir.glob('.*')]


def test_a_file_that_may_not_grow_is_a_user_error(saved: Config) -> None:
    work_dir = Path(saved.work_dir)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = (work_dir / 'epoch_1.pth').stat().st_size // 2
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(UserError) as error:
            train(saved)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(error.value) == (
        f'the run cannot write {work_dir}/epoch_2.pth (File too large): make '
        'room or change the rights, then resume from epoch_1.pth, which is '
        'intact, with --resume')
    assert_first_epoch_is_intact(work_dir)
