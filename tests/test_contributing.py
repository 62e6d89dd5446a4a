"""The example of CONTRIBUTING.md works as it is printed."""
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tadfkd.apis import load_config, train
from tadfkd.registry import SELECTORS

ROOT = Path(__file__).resolve().parents[1]


def blocks() -> dict[str, str]:
    """Source by the file that its first line names."""
    text = (ROOT / 'CONTRIBUTING.md').read_text()
    found = re.findall(r'^ *```python\n(.*?)^ *```$', text,
                       re.MULTILINE | re.DOTALL)
    sources = [
        re.sub('^   ', '', block, flags=re.MULTILINE) for block in found
    ]
    return {
        source.partition('\n')[0].removeprefix('# '): source
        for source in sources
    }


@pytest.fixture
def margin_selector(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The module of step 1, imported under its name."""
    module = types.ModuleType('tadfkd.selectors.margin')
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(blocks()['tadfkd/selectors/margin.py'], vars(module))
    yield
    del SELECTORS.module_dict['MarginSelector']


def test_the_examples_test_passes(margin_selector: None) -> None:
    scope: dict = {}
    exec(blocks()['tests/test_selectors/test_margin.py'], scope)
    tests = [scope[name] for name in scope if name.startswith('test_')]
    assert len(tests) == 1
    tests[0]()


def test_the_examples_config_trains(margin_selector: None,
                                    tiny_options: dict[str, Any],
                                    tmp_path: Path) -> None:
    name, source = next((name, source) for name, source in blocks().items()
                        if name.startswith('configs/'))
    # The config inherits from its own folder.
    source = source.replace("'./", f"'{(ROOT / name).parent}/")
    path = tmp_path / Path(name).name
    path.write_text(source)
    config = load_config(
        path,
        work_dir=str(tmp_path / 'run'),
        evaluate=False,
        # The teacher is not confident of an untrained generator's images.
        options=tiny_options | {'model.selector.min_margin': 0.0})
    model = train(config)
    assert type(model.candidates.selector).__name__ == 'MarginSelector'
    assert (tmp_path / 'run/summary.json').is_file()
