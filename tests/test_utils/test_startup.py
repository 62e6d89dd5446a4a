"""Missing packages are named in one sentence."""
from importlib import util
from importlib.metadata import PackageNotFoundError, version

import pytest

from tadfkd.utils import startup


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch,
            request: pytest.FixtureRequest) -> None:
    """The modules of the parameter are not installed."""
    monkeypatch.setattr(
        startup, 'find_spec', lambda name: None
        if name in request.param else util.find_spec(name))


@pytest.mark.parametrize(
    'without, named, cure', [
        (['mmengine', 'mmcv', 'mmpretrain'
          ], 'mmengine', "'tadfkd\\[openmmlab]'`, or .*'tadfkd\\[onedl]'`"),
        (['mmcv'], 'mmcv', "'tadfkd\\[openmmlab]'`"),
    ],
    indirect=['without'])
def test_a_missing_module_comes_with_its_cure(without: None, named: str,
                                              cure: str) -> None:
    with pytest.raises(ImportError, match=f'module `{named}`.*{cure}'):
        startup.check_dependencies()


@pytest.mark.parametrize('without', [['pkg_resources']], indirect=True)
def test_only_openmmlabs_mmengine_needs_pkg_resources(
        without: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, 'version', lambda name: '0.10.7')
    with pytest.raises(ImportError, match='setuptools<81'):
        startup.check_dependencies()

    def of_the_fork(name: str) -> str:
        if name == 'mmengine':
            raise PackageNotFoundError
        return version(name)

    monkeypatch.setattr(startup, 'version', of_the_fork)
    startup.check_dependencies()
