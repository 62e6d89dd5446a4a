"""The examples in the docstrings are run."""
import doctest
import importlib
import inspect
from typing import Any

import pytest

from tadfkd import augmentations, generators, losses, selectors
from tadfkd.checkpoints.weights import class_count
from tadfkd.classifiers.configs import as_own_network
from tadfkd.classifiers.input_adapter import in_255
from tadfkd.classifiers.own_network import LiveObject, factory_of, name_of
from tadfkd.registry import MODELS, SELECTORS
from tadfkd.teachers.sources import teacher_from

PARTS = [
    getattr(room, name)
    for room in (augmentations, generators, losses, selectors)
    for name in room.__all__
]

FUNCTIONS = [
    LiveObject, factory_of, name_of, in_255, as_own_network, teacher_from,
    class_count
]


@pytest.mark.parametrize(
    'part', FUNCTIONS + [
        part for part in PARTS if part in {*MODELS.module_dict.values()}
        | {*SELECTORS.module_dict.values()}
    ])
def test_a_component_has_an_example_that_runs(part: Any) -> None:
    names = vars(importlib.import_module(part.__module__))
    examples = doctest.DocTestParser().get_doctest(
        inspect.getdoc(part), dict(names), part.__name__, None, None)
    assert examples.examples
    report: list[str] = []
    doctest.DocTestRunner().run(examples, out=report.append)
    assert not report, ''.join(report)
