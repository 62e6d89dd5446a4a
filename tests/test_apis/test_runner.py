"""The Runner of a config: what it is given, and when it writes."""
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from tadfkd.apis import train
from tadfkd.errors import UserError


def test_a_config_can_be_used_again(tiny_config: Config,
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    before = tiny_config.pretty_text
    tiny_config.train_cfg.max_epochs = 1
    formatted: list[str] = []
    for module in ('mmengine.config.config', 'yapf.yapflib.yapf_api'):
        monkeypatch.setattr(
            f'{module}.FormatCode', lambda text, **_:
            (formatted.append(text) or text, True))
    train(tiny_config)
    assert len(formatted) == 1
    train(tiny_config)
    tiny_config.train_cfg.max_epochs = 2
    # The seed was in the config already, and the runs have added nothing.
    assert tiny_config.pretty_text == before
    folders = [
        path.parent for path in Path(tiny_config.work_dir).glob('*/vis_data')
    ]
    assert len(folders) == 2


def test_a_network_without_schedule_is_named(tiny_config: Config) -> None:
    del tiny_config.param_scheduler['generator']
    with pytest.raises(
            UserError,
            match='param_scheduler has no generator: set '
            r'param_scheduler.generator, to \[\] for'):
        train(tiny_config)
    assert not Path(tiny_config.work_dir).exists()


def test_a_missing_recorder_is_named_before_anything_is_written(
        tiny_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    # find_spec gives None for such an entry.
    monkeypatch.setitem(sys.modules, 'tensorboard', None)
    monkeypatch.setitem(sys.modules, 'tensorboardX', None)
    tiny_config.visualizer.vis_backends = [dict(type='TensorboardVisBackend')]
    with pytest.raises(
            UserError,
            match='TensorboardVisBackend needs the package '
            'tensorboard: install it'):
        train(tiny_config)
    assert not Path(tiny_config.work_dir).exists()
