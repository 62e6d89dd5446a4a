"""Which runs of a comparison are done again."""
from pathlib import Path
from typing import Any

import pytest

from tadfkd.apis import compare
from tadfkd.errors import UserError

ENTRY = "_base_ = '{base}'\n{change}"


@pytest.mark.parametrize('change, again', [
    ('', 0),
    ("train_cfg = dict(val_interval=1, max_epochs=2, by_epoch=True, "
     '_delete_=True)', 0),
    ('model = dict(batch_size=9)', 1),
])
def test_a_config_runs_again_when_it_says_something_else(
        digits_config: str, tiny_options: dict[str, Any], tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
        change: str, again: int) -> None:
    monkeypatch.chdir(tmp_path)
    options = {
        name: value
        for name, value in tiny_options.items()
        if name not in ('model.batch_size', 'train_cfg.max_epochs')
    }
    Path('mine').mkdir()
    path = Path('mine', 'leaf.py')
    base = Path(digits_config).resolve().as_posix()
    before = 'train_cfg = dict(max_epochs=2)\nmodel = dict(batch_size=8)\n'
    Path('mine',
         'parent.py').write_text(ENTRY.format(base=base, change=before))
    path.write_text(ENTRY.format(base='./parent.py', change=''))
    first = compare(['mine/leaf.py'], [0], 'record.json', options)
    path.write_text(ENTRY.format(base='./parent.py', change=change))
    second = compare(['mine/leaf.py'], [0], 'record.json', options)
    said = [
        line for line in capfd.readouterr().out.splitlines()
        if line.endswith('runs to do')
    ]
    assert said == ['1 runs to do', f'{again} runs to do']
    assert len(second) == 1 and (second == first) == (not again)


def test_fewer_jobs_than_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='jobs must be .* >= 1, got 0'):
        compare([], [0], tmp_path / 'record.json', jobs=0)


def test_a_record_that_is_no_json_is_named(tmp_path: Path) -> None:
    record = tmp_path / 'record.json'
    record.write_text('{')
    with pytest.raises(UserError, match='record.json is no JSON'):
        compare([], [0], record)
    assert record.read_text() == '{'
