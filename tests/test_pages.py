"""What the pages tell a reader to write, run or open is there.

The blocks that begin with the name of their file have tests of their own:
``test_contributing.py`` and ``test_users/``.
"""
import ast
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from benchmarks.tables import pages
from tadfkd import cli
from tadfkd.apis import load_config

ROOT = Path(__file__).resolve().parents[1]
PAGES = pages(ROOT)
#: A config without a base of its own changes this one.
BASE = 'tadfkd::tadfkd/resnet18w16_to_resnet18w8_digits.py'


def blocks(*languages: str) -> list:
    """The blocks of some languages, each with its place as the test's name."""
    found = []
    for page in PAGES:
        text = page.read_text()
        # A block in a list is indented.
        for match in re.finditer(r'^```(.*)\n((?:.*\n)*?)```$', text, re.M):
            if match[1] in languages:
                line = text.count('\n', 0, match.start()) + 1
                found.append(pytest.param(match[2], id=f'{page.stem}:{line}'))
    return found


@pytest.mark.parametrize('source', blocks('python'))
def test_python(source: str, tmp_path: Path) -> None:
    tree = ast.parse(source)
    if re.match(r'# [\w/]+\.py\n', source):
        return
    imports = [
        node for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    if imports:
        # The rest needs the files of a run.
        exec(compile(ast.Module(imports, []), 'page', 'exec'), {})
        return
    if '_base_' not in source:
        source = f'_base_ = {BASE!r}\n{source}'
    folder = re.search(r'# in configs/(\w+)/', source)
    source = source.replace("'./",
                            f"'tadfkd::{folder[1] if folder else 'tadfkd'}/")
    path = tmp_path / 'page.py'
    path.write_text(source)
    load_config(path)


@pytest.mark.parametrize('source', blocks('', 'bash'))
def test_commands(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(['bash', '-n'], input=source, text=True, check=True)
    for name, command in cli.COMMANDS.items():
        monkeypatch.setitem(cli.COMMANDS, name,
                            command._replace(run=lambda arguments: None))
    for line in source.replace('\\\n', '').splitlines():
        # A variable is a number here.
        words = shlex.split(re.sub(r'"\$\w+"', '1', line), comments=True)
        for i, word in enumerate(words):
            following = words[i + 1:]
            if word == 'tadfkd' or following[:1] == ['tadfkd.cli']:
                cli.main(following[word != 'tadfkd':])
                break
            if word == 'make':
                targets = (ROOT / 'Makefile').read_text()
                assert re.search(rf'^{following[0]}:', targets, re.M)
            if word.startswith('tools/'):
                assert (ROOT / word).is_file()


@pytest.mark.parametrize(
    'page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_inside_the_project(page: Path) -> None:
    targets = re.findall(r'\]\(([^)\s:]+)\)', page.read_text())
    for target in targets:
        path, _, anchor = target.partition('#')
        file = page.parent / path if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in headings(file), target


def headings(page: Path) -> set[str]:
    """The anchors of a page, as GitHub and MyST make them."""
    titles = re.findall(r'^#+ (.*)$', page.read_text(), re.M)
    return {
        re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-')
        for title in titles
    }
