"""The files of the student at the end of a run."""
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.config import Config
from mmengine.hooks import EMAHook
from safetensors.torch import load_file

from tadfkd.algorithms import BaseDFKD
from tadfkd.engine.hooks import StudentFilesHook
from tadfkd.export.formats import FORMATS
from tadfkd.export.writing import write_student


@pytest.fixture
def runner(tiny_model: BaseDFKD, tiny_config: Config, tmp_path: Path,
           monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What the hook asks a Runner for; the student is written."""
    monkeypatch.setattr('tadfkd.engine.hooks.student_files.write_student',
                        write_student)

    def refuse(*_: object) -> None:
        raise RuntimeError('a data-dependent branch')

    # Tracing takes seconds, and other tests do it.
    monkeypatch.setitem(FORMATS, 'torch.export',
                        FORMATS['torch.export']._replace(write=refuse))
    return SimpleNamespace(
        model=tiny_model,
        cfg=tiny_config,
        work_dir=str(tmp_path),
        seed=5,
        epoch=3,
        max_epochs=3,
        hooks=[],
        logger=logging.getLogger('test_student_files'))


def files(runner: SimpleNamespace) -> set[str]:
    """What the student's folder has."""
    return {path.name for path in Path(runner.work_dir, 'student').glob('*')}


def test_a_format_that_fails_is_a_warning_and_the_rest_is_written(
        runner: SimpleNamespace, caplog: pytest.LogCaptureFixture) -> None:
    StudentFilesHook().after_train(runner)
    assert files(runner) == {'model.safetensors', 'config.json'}
    [warning] = [
        record.getMessage() for record in caplog.records
        if record.levelno == logging.WARNING
    ]
    assert 'torch.export' in warning and 'data-dependent' in warning


def test_a_student_that_cannot_be_written_does_not_break_the_run(
        runner: SimpleNamespace, caplog: pytest.LogCaptureFixture) -> None:
    runner.cfg.model.student.head.num_classes = 3
    StudentFilesHook().after_train(runner)
    assert files(runner) == set()
    assert 'does not fit the network' in caplog.text


def test_averaged_weights_are_written_where_they_were_evaluated(
        runner: SimpleNamespace) -> None:
    hook = EMAHook()
    hook.before_run(runner)
    hook.ema_model.module.student.head.fc.bias.data.fill_(0.5)
    runner.hooks = [hook]
    StudentFilesHook().after_train(runner)
    weights = load_file(Path(runner.work_dir, 'student/model.safetensors'))
    assert weights['head.fc.bias'].eq(0.5).all()
    assert not runner.model.student.head.fc.bias.eq(0.5).all()
