"""Exporting from a work directory."""
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from safetensors.torch import load_file

from tadfkd.apis import distill, export_student
from tadfkd.checkpoints.reading import read_checkpoint
from tadfkd.errors import UserError


def test_the_student_of_the_newest_checkpoint_is_written(
        digits_config: str, tiny_options: dict[str, Any],
        tmp_path: Path) -> None:
    distill(
        digits_config,
        options=tiny_options,
        work_dir=str(tmp_path),
        evaluate=False)
    for epoch in (2, 1):
        folder = export_student(tmp_path, ['safetensors'])
        assert folder == tmp_path / 'student'
        weights = load_file(folder / 'model.safetensors')
        state = read_checkpoint(tmp_path / f'epoch_{epoch}.pth')['state_dict']
        assert weights.keys() == {
            name.removeprefix('student.')
            for name in state if name.startswith('student.')
        }
        for name, value in weights.items():
            assert value.equal(state[f'student.{name}']), name
        (tmp_path / f'epoch_{epoch}.pth').unlink()
    with pytest.raises(UserError, match='has no checkpoint'):
        export_student(tmp_path)


def test_a_folder_that_is_no_work_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='has no config of a run'):
        export_student(tmp_path)
    Config(dict(model=dict(type='ImageClassifier'))).dump(tmp_path /
                                                          'teacher.py')
    with pytest.raises(UserError, match='distils no teacher'):
        export_student(tmp_path)
