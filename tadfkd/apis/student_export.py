"""Export the student of a work directory."""
import os
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from tadfkd.algorithms import BaseDFKD
from tadfkd.apis.config import is_distillation, load_config
from tadfkd.apis.trained import prepare, trained_model
from tadfkd.checkpoints.reading import restricted_unpickling
from tadfkd.checkpoints.resume_point import newest_intact
from tadfkd.errors import UserError
from tadfkd.export.writing import DEFAULT_FORMATS, write_student
from tadfkd.utils.library_errors import registry_errors_as_user_errors


def export_student(work_dir: str | os.PathLike,
                   formats: Sequence[str] = DEFAULT_FORMATS) -> Path:
    """Write the student of the newest checkpoint to ``student/``.

    Args:
        work_dir: Work directory of a distillation. Its config is a program
            and is run.
        formats: Of :data:`tadfkd.export.FORMAT_NAMES`. ``model.safetensors``
            and ``config.json`` are written in any case.

    Returns:
        The folder ``student/`` in the work directory.

    Raises:
        UserError: If there is no config or no checkpoint, if the student was
            an object of another process, or for the reasons of
            :func:`tadfkd.export.write_student`.
    """
    return export_from(_config_of(Path(work_dir)), formats)


def export_from(config: Config, formats: Sequence[str]) -> Path:
    """As :func:`export_student`, with the config of the run."""
    folder = Path(config.work_dir, 'student')
    model = newest_model(config)
    write_student(model, config, folder, formats, seed=config.randomness.seed)
    return folder


def newest_model(config: Config) -> BaseDFKD:
    """The model of the newest checkpoint, without its teacher.

    Args:
        config: Of the run.

    Raises:
        UserError: If there is no checkpoint, or it does not fit.
    """
    with registry_errors_as_user_errors(), restricted_unpickling():
        prepare(config)
        return trained_model(config, newest_checkpoint(config))


def newest_checkpoint(config: Config) -> Path:
    """The newest intact checkpoint of a run.

    Raises:
        UserError: If there is none.
    """
    checkpoint, _ = newest_intact(config.work_dir)
    if checkpoint is None:
        raise UserError(f'{config.work_dir} has no checkpoint: name the work '
                        'directory of a run that has saved one')
    return checkpoint


def _config_of(work_dir: Path) -> Config:
    """The config that the newest run has left in its work directory."""
    paths = sorted(
        work_dir.glob('*.py'), key=lambda path: path.stat().st_mtime)
    if not paths:
        raise UserError(f'{work_dir} has no config of a run: name the work '
                        'directory of a distillation')
    config = load_config(paths[-1], work_dir=str(work_dir))
    if not is_distillation(config):
        raise UserError(f'{paths[-1]} distils no teacher, so {work_dir} has '
                        'no student: name the work directory of a '
                        'distillation')
    return config
