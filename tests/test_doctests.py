"""The examples in the docstrings are run."""
import doctest
import importlib
import inspect

import pytest

from tadfkd import augmentations, generators, losses, selectors
from tadfkd.registry import MODELS, SELECTORS

PARTS = [
    getattr(room, name)
    for room in (augmentations, generators, losses, selectors)
    for name in room.__all__
]


@pytest.mark.parametrize('part', [
    part for part in PARTS if part in {*MODELS.module_dict.values()}
    | {*SELECTORS.module_dict.values()}
])
def test_a_component_has_an_example_that_runs(part: type) -> None:
    names = vars(importlib.import_module(part.__module__))
    examples = doctest.DocTestParser().get_doctest(
        inspect.getdoc(part), dict(names), part.__name__, None, None)
    assert examples.examples
    report: list[str] = []
    doctest.DocTestRunner().run(examples, out=report.append)
    assert not report, ''.join(report)
