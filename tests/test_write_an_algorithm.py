"""The algorithm of docs/write_an_algorithm.md trains as it is printed."""
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tadfkd.apis import load_config, train
from tadfkd.registry import MODELS

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def page_files(tmp_path: Path,
               monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder with the files of the page, beside the configs."""
    text = (ROOT / 'docs/write_an_algorithm.md').read_text()
    for source in re.findall(r'^```python\n(.*?)^```$', text, re.M | re.S):
        path = tmp_path / source.partition('\n')[0].removeprefix('# ')
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    monkeypatch.syspath_prepend(tmp_path / 'my_dfkd')
    yield tmp_path / 'my_dfkd'
    del MODELS.module_dict['ConfidentDFAD'], sys.modules['confident_dfad']


def test_two_iterations(page_files: Path, tiny_options: dict[str, Any],
                        tmp_path: Path) -> None:
    model = train(
        load_config(
            page_files / 'confident_dfad_digits.py',
            tiny_options | {
                'train_cfg.max_epochs': 1,
                'default_hooks.logger.interval': 1
            },
            work_dir=str(tmp_path / 'run'),
            evaluate=False))
    assert type(model).__name__ == 'ConfidentDFAD'
    assert model.counters.steps['generator'] == 2
    [log] = (tmp_path / 'run').glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert {'generator_confidence', 'generator_adversarial'} <= rows[0].keys()
