"""The wheel has all that the command needs, and works anywhere."""
import filecmp
import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# mmengine reads the base of `mine.py`, and nothing imports torch.
CODE = """
import sys
import tadfkd.registry
from mmengine.config import Config
from tadfkd.utils.shipped import find_config
name = 'tadfkd::tadfkd/resnet34_to_resnet18_cifar10.py'
assert Config.fromfile('mine.py').model == Config.fromfile(
    find_config(name)).model | dict(_scope_='tadfkd')
print(tadfkd.__file__)
"""


@pytest.fixture(scope='module')
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the content of the wheel, as pip unpacks it."""
    folder = tmp_path_factory.mktemp('wheel')
    source, wheels, installed = (
        folder / name for name in ('source', 'wheels', 'installed'))
    # A copy, because setuptools writes to its source.
    for name in ('tadfkd', 'configs', 'tools'):
        shutil.copytree(
            ROOT / name,
            source / name,
            symlinks=True,
            ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('pyproject.toml', 'README.md', 'LICENSE', 'model-index.yml'):
        shutil.copy(ROOT / name, source)
    subprocess.run([
        sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps',
        '--no-build-isolation', '--wheel-dir', wheels, source
    ],
                   check=True)
    [wheel] = wheels.iterdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    return installed


def files(folder: Path) -> set[Path]:
    """All files of a folder, without those that Python writes."""
    return {
        path.relative_to(folder)
        for path in folder.rglob('*')
        if path.is_file() and '__pycache__' not in path.parts
    }


def test_the_wheel_has_configs_tools_and_index(installed: Path) -> None:
    shipped = installed / 'tadfkd' / '.mim'
    assert not shipped.is_symlink()
    for name in ('configs', 'tools'):
        assert files(ROOT / name) == files(shipped / name)
    assert filecmp.cmp(shipped / 'model-index.yml', ROOT / 'model-index.yml')
    for name in ('py.typed', 'report/report.html.jinja'):
        assert (installed / 'tadfkd' / name).is_file()
    # Nothing else lands beside the packages of others.
    assert {path.name.partition('-')[0]
            for path in installed.iterdir()} == {'tadfkd'}


def test_the_wheel_has_the_command_and_forces_no_mmengine(
        installed: Path) -> None:
    [distribution] = [
        found for found in distributions(path=[str(installed)])
        if found.name == 'tadfkd'
    ]
    required = [
        text for text in distribution.requires or [] if 'extra ==' not in text
    ]
    assert any(text.startswith('torch') for text in required)
    assert not any('mm' in text for text in required)
    [command] = distribution.entry_points.select(group='console_scripts')
    assert (command.name, command.value) == ('tadfkd', 'tadfkd.cli:main')


def test_the_wheel_works_in_an_empty_folder(installed: Path,
                                            tmp_path: Path) -> None:
    environment = dict(os.environ, PYTHONPATH=str(installed))

    def run(*arguments: str) -> str:
        return subprocess.run([sys.executable, *arguments],
                              cwd=tmp_path,
                              env=environment,
                              check=True,
                              capture_output=True,
                              text=True).stdout

    name = 'tadfkd::tadfkd/resnet34_to_resnet18_cifar10.py'
    listed = run('-m', 'tadfkd.cli', 'configs', 'cifar10.py')
    assert f'{name}\n' in listed
    (tmp_path / 'mine.py').write_text(f'_base_ = {name!r}')
    assert run('-c', CODE).strip() == str(installed / 'tadfkd/__init__.py')
