"""Files around the package agree with each other."""
import re
import tomllib
from collections import Counter
from importlib.metadata import version
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import tadfkd

ROOT = Path(__file__).resolve().parents[1]


def pins(*names: str) -> dict[str, str]:
    """Pinned versions by distribution name, of files of requirements."""
    return {
        requirement.name: str(requirement.specifier).removeprefix('==')
        for name in names or ('runtime.txt', 'tests.txt')
        for line in (ROOT / 'requirements' / name).read_text().split('\n')
        if line and not line.startswith(('#', '-', ' '))
        for requirement in (Requirement(line.rstrip(' \\')), )
    }


def setup_requirements() -> list[Requirement]:
    """The requirements of the package, with its extras."""
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
    extras = project['optional-dependencies'].values()
    return [*map(Requirement, chain(project['dependencies'], *extras))]


def test_the_ranges_of_setup_admit_the_pins() -> None:
    requirements = setup_requirements()
    pinned = pins('runtime.txt', 'tests.txt', 'onedl.txt', 'sweep.txt')
    for requirement in requirements:
        assert requirement.specifier.contains(
            pinned[requirement.name]), requirement


@pytest.mark.parametrize('lock, names', [
    ('tests.lock', ['runtime.txt', 'tests.txt']),
    ('docs.lock', ['docs.txt']),
])
def test_the_locked_versions_are_the_pinned_ones(lock: str,
                                                 names: list[str]) -> None:
    text = (ROOT / 'requirements' / lock).read_text()
    locked = pins(lock)
    assert pins(*names).items() <= locked.items()
    assert text.count('\n    --hash=sha256:') >= len(locked)
    # Whoever installs chooses where from.
    assert '://' not in text


def test_what_is_installed_is_what_was_pinned() -> None:
    wrong = {
        name: version(name)
        for name, pin in pins().items()
        # A suffix such as +cpu names another build of the same version.
        if version(name).partition('+')[0] != pin
    }
    assert wrong == {}


def test_pre_commit_has_the_pinned_formatters() -> None:
    config = yaml.safe_load((ROOT / '.pre-commit-config.yaml').read_text())
    found = {
        Requirement(dependency).name: str(Requirement(dependency).specifier)
        for repository in config['repos']
        for hook in repository['hooks']
        for dependency in hook['additional_dependencies']
    }
    assert found == {
        name: f'=={pins()[name]}'
        for name in ('ruff', 'isort', 'yapf')
    }


@pytest.mark.parametrize(
    'path', [
        ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md')), *sorted(
            (ROOT / 'configs').glob('*/README.md'))
    ],
    ids=lambda path: path.name)
def test_files_that_a_page_names_exist(path: Path) -> None:
    text = path.read_text()
    named = set(
        re.findall(
            r'(?<!/)\b((?:configs|tools|requirements|docs)/[\w./-]+\.\w+)',
            text))
    missing = [name for name in named if not (ROOT / name).exists()]
    assert missing == []


def test_no_two_modules_share_a_file_name() -> None:
    # A file of networks has the name of the architecture.
    networks = ('backbones', 'converters')
    counts = Counter(
        path.name for path in (ROOT / 'tadfkd').rglob('*.py')
        if path.name != '__init__.py' and path.parent.name not in networks)
    assert [name for name, count in counts.items() if count > 1] == []


def test_the_version_is_that_of_the_distribution() -> None:
    assert version('tadfkd') == tadfkd.__version__
