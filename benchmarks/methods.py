"""What the papers and their released code have: ``docs/methods.yml``."""
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

#: The config whose numbers the table shows; every method has it.
SHOWN = 'resnet34_to_resnet18_cifar10'
#: Configs with the sizes, steps and rates of the papers.
PAPER_SIZED = re.compile('cifar|tiny')


def flat(settings: Any, path: str = '') -> dict[str, Any]:
    """The settings at the ends of nested ones, by dotted path.

    A list of dictionaries has the places of its entries in the path; every
    other list is a setting.

    Args:
        settings: Dictionaries and lists; their keys may be dotted themselves.
        path: Where they stand.

    Example:
        >>> flat({'model.loss': {'type': 'A'}, 'rate': [{'at': (1, 2)}]})
        {'model.loss.type': 'A', 'rate.0.at': [1, 2]}
    """
    if isinstance(settings, list | tuple):
        if not settings or not isinstance(settings[0], Mapping):
            return {path: [*settings]}
        settings = dict(enumerate(settings))
    if not isinstance(settings, Mapping):
        return {path: settings}
    return {
        end: value
        for key, part in settings.items()
        for end, value in flat(part,
                               f'{path}.{key}' if path else str(key)).items()
    }


def has_configs(row: Mapping[str, Any], stem: str) -> bool:
    """Whether a row of numbers is about the config of this name."""
    return any(fnmatchcase(stem, pattern) for pattern in row['configs'])


def numbers_of(method: Mapping[str, Any], stem: str) -> dict[str, Any]:
    """What a config has to have, by dotted path.

    Args:
        method: Entry of ``docs/methods.yml``.
        stem: Name of the config's file without its ending.
    """
    numbers: dict[str, Any] = {}
    for row in method['numbers']:
        if has_configs(row, stem):
            numbers |= flat(row['has'])
    return numbers


def methods_table(methods: Mapping[str, Any]) -> tuple[Iterable, Iterable]:
    """Head and rows of the table of methods."""
    cells = ('generator_loss', 'student_loss', 'generator', 'schedule')
    head = ('method', 'paper and released code', *(cell.replace('_', ' ')
                                                   for cell in cells),
            'other configs', 'differs from paper or released code')
    rows = []
    for method in methods.values():
        filled = [_filled(method, cell) for cell in cells]
        rows.append([
            method['name'],
            _source(method), *filled,
            _others(method), ' '.join(method['differs'])
        ])
    return head, rows


def own_numbers_table(methods: Mapping[str, Any]) -> tuple[Iterable, Iterable]:
    """Head and rows of the table of numbers that are our own."""
    rows = [(method['name'], f'`{path}`', reason)
            for method in methods.values()
            for path, reason in method['ours'].items()]
    return ('method', 'setting', 'reason'), rows


def _source(method: Mapping[str, Any]) -> str:
    paper, code = method['paper'], method['code']
    parts = []
    if paper is not None:
        parts.append(f'*{paper["title"]}*, {paper["venue"]}')
        if paper['arxiv'] is not None:
            number = paper['arxiv']
            parts.append(f'[{number}](https://arxiv.org/abs/{number})')
    if code is not None:
        repository, commit = code['repository'], code['commit']
        parts.append(f'[{repository}](https://github.com/{repository}/tree/'
                     f'{commit}) at {commit[:7]}')
    return ', '.join(parts) or '-'


def _filled(method: Mapping[str, Any], cell: str) -> str:
    """A cell with its numbers in place of their paths."""
    numbers = numbers_of(method, SHOWN)

    def number(match: re.Match) -> str:
        path = match.group(1)
        if path not in numbers:
            raise ValueError(
                f'{cell} of {method["name"]} in docs/methods.yml names '
                f'{path}, which is none of its numbers: add it to a row whose '
                f'configs include {SHOWN}, or correct the path')
        return _written(numbers[path])

    return re.sub(r'{([\w.]+)}', number, method[cell])


def _others(method: Mapping[str, Any]) -> str:
    """What is otherwise in configs that the table does not show."""
    shown = numbers_of(method, SHOWN)
    others = []
    for row in method['numbers']:
        if has_configs(row, SHOWN):
            continue
        changes = ', '.join(
            f'{path.removeprefix("model.")} {_written(value)}'
            for path, value in flat(row['has']).items()
            if value != [] and (path not in shown or shown[path] != value))
        names = ', '.join(f'`{name}`' for name in row['configs'])
        if changes:
            others.append(f'{names}: {changes}')
    return '; '.join(others)


def _written(value: Any) -> str:
    if isinstance(value, list):
        return f'({", ".join(map(_written, value))})'
    if value is None:
        return 'none'
    return f'{value:g}' if isinstance(value, float) else str(value)
