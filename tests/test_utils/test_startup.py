"""Missing packages are named in one sentence."""
from importlib import util

import pytest

from tadfkd.utils import startup


@pytest.mark.parametrize('missing, cure', [('mmcv', 'pip install mmcv-lite'),
                                           ('pkg_resources', 'setuptools<81')])
def test_a_missing_module_comes_with_its_cure(monkeypatch: pytest.MonkeyPatch,
                                              missing: str, cure: str) -> None:
    monkeypatch.setattr(
        startup, 'find_spec', lambda name: None
        if name == missing else util.find_spec(name))
    with pytest.raises(ImportError, match=f'`{missing}`') as caught:
        startup.check_dependencies()
    assert cure in str(caught.value)
