"""The runs of a sweep: their folders, commands, and deciding settings."""
from collections.abc import Callable
from pathlib import Path

import pytest

from tadfkd.errors import UserError
from tadfkd.sweeps.planning import PlannedRun, fingerprint, plan_runs


def test_a_folder_names_teacher_config_setting_and_seed() -> None:
    runs = plan_runs(
        Path('runs'), ['configs/dafl/digits.py', 'mine.py'],
        ['tadfkd::teachers/vitw64_digits.py', 'timm::vit/b'], [0, 1], {
            'model.batch_size': [8, 16],
            'model.note': ['a/b c']
        })
    assert len(runs) == 16
    # One seed of all comes before the next.
    assert [run.seed for run in runs] == [0] * 8 + [1] * 8
    assert runs[0].folder == Path('runs/vitw64_digits/dafl_digits/'
                                  'model.batch_size=8,model.note=a_b_c/seed_0')
    assert runs[-1].folder == Path(
        'runs/b/mine/model.batch_size=16,model.note=a_b_c/seed_1')
    assert runs[-1].options == {'model.batch_size': 16, 'model.note': 'a/b c'}
    [run] = plan_runs(Path('runs'), ['a/b.py'], [None], [3], {})
    assert run.folder == Path('runs/own_teacher/a_b/seed_3')


@pytest.mark.parametrize('configs', [['a/x.py', 'b/a/x.py'], ['x.py', 'x.py']])
def test_two_runs_never_share_a_folder(configs: list[str]) -> None:
    with pytest.raises(UserError, match='would share the folder runs/own_tea'):
        plan_runs(Path('runs'), configs, [None], [0], {})


def test_the_fingerprint_is_of_what_decides(
        plan: Callable[..., list[PlannedRun]]) -> None:
    [run], [other] = plan(), plan([1], **{'default_hooks.samples.interval': 7})
    [changed] = plan(**{'model.batch_size': 9})
    assert fingerprint(run.load()) == fingerprint(other.load())
    assert fingerprint(run.load()) != fingerprint(changed.load())
