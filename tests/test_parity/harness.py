"""Numbers of released code, and how ours are compared with them.

An entry of ``values.json`` has a recipe of inputs, and the values and
gradients that a public repository gives on them. A callable that is
registered for the entry's id gives ours.
"""
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

#: Relative, but for the entries in ``COARSE``.
TOLERANCE = 1e-5
#: What is 0 but for the rounding of float64.
FLOOR = 1e-12
#: Deviations of drawn weights, known to two or three digits.
COARSE = {'cmi.reinitialisation': 0.03, 'fast.first_layer': 0.05}

#: By name: ``'loss'``, or ``'gradient of loss: student'`` with the norm and
#: the first four entries.
Numbers = dict[str, Any]


class Inputs(SimpleNamespace):
    """The inputs of an entry by name; float ones are float64 leaves.

    A callable may replace an input, where a network holds it as a parameter.

    Attributes:
        gradients: Where an algorithm computes the gradients itself, they
            stand here.
    """

    gradients: dict[str, Tensor]

    def tensors(self) -> dict[str, Tensor]:
        """Those inputs that are tensors."""
        return {
            name: value
            for name, value in vars(self).items() if isinstance(value, Tensor)
        }


@dataclass(frozen=True)
class Entry:
    """One entry of ``values.json``; its keys are explained there."""

    id: str
    method: str
    term: str
    origin: str
    inputs: str
    parameters: dict[str, Any]
    values: dict[str, Any]
    repository: str = ''
    commit: str = ''
    source: str = ''
    input_sums: dict[str, float] | None = None
    gradient: dict[str, Any] | None = None
    note: str = ''

    @property
    def released(self) -> Numbers:
        """The released code's numbers."""
        numbers = dict(self.values)
        if self.gradient is not None:
            of = self.gradient['of']
            for name, value in self.gradient['with_respect_to'].items():
                numbers[f'gradient of {of}: {name}'] = [
                    value['norm'], *value['first']
                ]
        return numbers

    def make_inputs(self) -> Inputs:
        """Follow the recipe, and compare the sums of what it makes."""
        made: dict[str, Any] = dict(torch=torch)
        exec(self.inputs, made)
        for name, expected in (self.input_sums or {}).items():
            got = float(made[name].double().sum())
            assert np.isclose(got, expected, 1e-7, 1e-7), \
                f'the recipe of {self.id} makes {name} of sum {got}'
        inputs = Inputs(gradients={})
        for name, value in made.items():
            if isinstance(value, Tensor) and value.is_floating_point():
                value = value.double().requires_grad_()
            if not isinstance(value, torch.Generator) \
                    and name not in ('torch', '__builtins__'):
                setattr(inputs, name, value)
        return inputs


def load_entries() -> dict[str, Entry]:
    """All entries by id."""
    text = (Path(__file__).parent / 'values.json').read_text()
    entries = [Entry(**entry) for entry in json.loads(text)['entries']]
    return {entry.id: entry for entry in entries}


#: A callable takes the inputs and the entry, and returns our values.
Ours = Callable[[Inputs, Entry], dict[str, Any]]
_REGISTRY: dict[str, Ours] = {}


def gives(*prefixes: str) -> Callable[[Ours], Ours]:
    """Register a callable for the entries whose id begins with a prefix; the
    longest prefix counts."""

    def register(ours: Ours) -> Ours:
        _REGISTRY.update(dict.fromkeys(prefixes, ours))
        return ours

    return register


def callable_for(id: str) -> Ours | None:
    """The callable that gives our numbers of an entry, if there is one."""
    prefixes = [prefix for prefix in _REGISTRY if id.startswith(prefix)]
    return _REGISTRY[max(prefixes, key=len)] if prefixes else None


def our_numbers(entry: Entry) -> Numbers:
    """Values and gradients of our code on the entry's inputs."""
    ours, inputs = callable_for(entry.id), entry.make_inputs()
    assert ours is not None, f'no callable gives {entry.id}'
    values = ours(inputs, entry)
    numbers = {name: _plain(value) for name, value in values.items()}
    if entry.gradient is None:
        return numbers
    of, names = entry.gradient['of'], [*entry.gradient['with_respect_to']]
    gradients = inputs.gradients or dict(
        zip(
            names,
            torch.autograd.grad(
                values[of], [inputs.tensors()[name] for name in names],
                allow_unused=True)))
    for name in names:
        gradient = gradients[name]
        if gradient is None:
            gradient = torch.zeros_like(inputs.tensors()[name])
        numbers[f'gradient of {of}: {name}'] = [
            float(gradient.norm()), *gradient.flatten()[:4].tolist()
        ]
    return numbers


def _plain(value: Any) -> Any:
    return value.detach().tolist() if isinstance(value, Tensor) else value


def differences(entry: Entry, ours: Numbers, expected: Numbers) -> list[str]:
    """One line for each number that is not equal."""
    tolerance = COARSE.get(entry.id, TOLERANCE)
    return [
        f'{name}: ours {ours.get(name)}, expected {value}'
        for name, value in expected.items()
        if not _equal(ours.get(name), value, tolerance)
    ]


def _equal(ours: Any, expected: Any, tolerance: float) -> bool:
    if not isinstance(expected, float | list):
        return ours == expected
    try:
        ours, expected = (np.asarray(x, float) for x in (ours, expected))
    except (TypeError, ValueError):
        return ours == expected
    return ours.shape == expected.shape and bool(
        np.allclose(ours, expected, tolerance, FLOOR))
