"""Recorders of a run, as far as their packages are installed."""
import importlib.util
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from tadfkd.cli import main


def require(package: str) -> None:
    """Skip a test without the package, which the project does not ask for."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f'the package {package} is not installed')


@pytest.fixture
def one_epoch(tiny_config: Config, tmp_path: Path,
              monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command line of a run of one epoch."""
    tiny_config.train_cfg.max_epochs = 1
    tiny_config.default_hooks.student_files = None
    path = tmp_path / 'config.py'
    tiny_config.dump(path)
    monkeypatch.setattr(sys, 'path', [*sys.path])
    return ['train', str(path), '--work-dir', str(tmp_path / 'run')]


def test_tensorboard_has_losses_and_measures(one_epoch: list[str],
                                             tmp_path: Path) -> None:
    require('tensorboard')
    from tensorboard.backend.event_processing.event_accumulator import \
        EventAccumulator
    main([*one_epoch, '--tensorboard'])
    [file] = tmp_path.glob('run/*/vis_data/events*')
    events = EventAccumulator(str(file))
    events.Reload()
    assert {'student_total', 'synthetic/agreement',
            'accuracy/top1'} <= {*events.Tags()['scalars']}
    assert events.Tags()['images'] == ['samples']


def test_mlflow_has_losses_measures_and_images(
        one_epoch: list[str], tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    require('mlflow')
    monkeypatch.setenv('MLFLOW_ALLOW_FILE_STORE', 'true')
    main([*one_epoch, '--mlflow', str(tmp_path / 'mlruns')])
    [run] = {
        path.parent.parent
        for path in tmp_path.glob('mlruns/*/*/metrics/*')
    }
    assert (run / 'metrics/student_total').read_text().split()
    assert (run / 'metrics/synthetic/agreement').is_file()
    assert (run / 'artifacts/samples_1.png').is_file()
