"""The demo trains each teacher once, and distils it."""
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mmengine.config import Config

from tadfkd.apis import demo, load_config
from tadfkd.errors import UserError


@pytest.mark.parametrize('steps, student_steps', [(None, 750), (3, 15)])
def test_each_teacher_is_trained_once_and_distilled(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int | None,
        student_steps: int) -> None:
    trained: list[str] = []

    def train(config: Config) -> None:
        trained.append(config.work_dir)
        epochs = config.train_cfg.max_epochs
        Path(config.work_dir).mkdir(parents=True)
        Path(config.work_dir, f'epoch_{epochs}.pth').touch()

    def distill(config: str, **changes: Any) -> SimpleNamespace:
        loaded = load_config(config, **changes)
        assert Path(loaded.model.teacher.checkpoint).is_file()
        assert loaded.randomness.seed == 4
        top1 = dict.fromkeys(
            ('teacher_top1', 'student_top1_last', 'student_top1_last_k_mean',
             'student_top1_max', 'agreement_last'), 97.5)
        summary = top1 | dict(
            algorithm=loaded.model.type,
            config=loaded.filename,
            last_k=10,
            wall_seconds=1.0,
            student_steps=loaded.train_cfg.max_epochs *
            loaded.train_dataloader.dataset.num_steps *
            loaded.model.num_student_steps)
        return SimpleNamespace(summary=summary)

    monkeypatch.setattr(demo, 'train', train)
    monkeypatch.setattr(demo, 'distill', distill)
    pages = [demo.run_demo(tmp_path, 4, steps) for _ in range(2)]
    assert trained == [
        str(tmp_path / 'teacher'),
        str(tmp_path / 'vit' / 'teacher')
    ]
    assert pages[0] == pages[1]
    assert f'  {student_steps} student steps in 1 s; see {tmp_path}/' in \
        pages[0]
    assert 'AgnosticDFKD, vitw64_to_resnet18w8_digits:' in pages[0]


def test_no_steps_are_refused_before_a_teacher_is_trained(
        tmp_path: Path) -> None:
    with pytest.raises(UserError, match='--steps must be at least 1, got 0'):
        demo.run_demo(tmp_path, steps=0)
    assert not [*tmp_path.iterdir()]
