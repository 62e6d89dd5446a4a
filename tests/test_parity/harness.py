"""Numbers of released code, and how ours are compared with them.

An entry of ``values.json`` has a recipe of inputs, and the values and
gradients that a public repository gives on them. A callable that is
registered for the entry's id gives ours.
"""
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

#: Relative, but for deviations of drawn weights, known to 2 or 3 digits.
TOLERANCE = 1e-5
COARSE = {'cmi.reinitialisation': 0.03, 'fast.first_layer': 0.05}
#: What is 0 but for the rounding of float64.
FLOOR = 1e-12

#: By name: ``'loss'``, or ``'gradient: student'`` with the norm and the first
#: four entries.
Numbers = dict[str, Any]
#: One of ``values.json``, where its keys are explained.
Entry = dict[str, Any]


class Inputs(SimpleNamespace):
    """The inputs of an entry by name; float ones are float64 leaves. A
    callable may replace one by the parameter of a network that holds it.

    Attributes:
        id: Of the entry.
        parameters: Of the entry.
        gradients: Where an algorithm computes the gradients itself, they
            stand here.
    """

    def tensors(self) -> dict[str, Tensor]:
        """Those inputs that are tensors."""
        return {
            name: value
            for name, value in vars(self).items() if isinstance(value, Tensor)
        }


def load_entries() -> dict[str, Entry]:
    """All entries by id."""
    text = (Path(__file__).parent / 'values.json').read_text()
    return {entry['id']: entry for entry in json.loads(text)['entries']}


def released(entry: Entry) -> Numbers:
    """The released code's numbers."""
    gradients = entry.get('gradient', {}).get('with_respect_to', {})
    return entry['values'] | {
        f'gradient: {name}': [value['norm'], *value['first']]
        for name, value in gradients.items()
    }


def make_inputs(entry: Entry) -> Inputs:
    """Follow the recipe, and compare the sums of what it makes."""
    made: dict[str, Any] = dict(torch=torch)
    exec(entry['inputs'], made)
    for name, expected in entry.get('input_sums', {}).items():
        got = float(made[name].double().sum())
        assert np.isclose(got, expected, 1e-7, 1e-7), \
            f'the recipe of {entry["id"]} makes {name} of sum {got}'
    for name in ('torch', '__builtins__', 'g'):
        made.pop(name, None)
    for name, value in made.items():
        if isinstance(value, Tensor) and value.is_floating_point():
            made[name] = value.double().requires_grad_()
    return Inputs(
        id=entry['id'], parameters=entry['parameters'], gradients={}, **made)


#: A callable returns our values; a tensor is that of ``'loss'``.
Ours = Callable[[Inputs], Any]
_REGISTRY: dict[str, Ours] = {}


def gives(*prefixes: str) -> Callable[[Ours], Ours]:
    """Register a callable for the entries whose id begins with a prefix; the
    longest prefix counts."""

    def register(ours: Ours) -> Ours:
        _REGISTRY.update(dict.fromkeys(prefixes, ours))
        return ours

    return register


def our_numbers(entry: Entry) -> Numbers:
    """Values and gradients of our code on the entry's inputs."""
    x = make_inputs(entry)
    prefix = max((prefix for prefix in _REGISTRY if x.id.startswith(prefix)),
                 key=len)
    values = _REGISTRY[prefix](x)
    if isinstance(values, Tensor):
        values = dict(loss=values)
    if 'gradient' in entry:
        names = [*entry['gradient']['with_respect_to']]
        gradients = x.gradients or dict(
            zip(
                names,
                torch.autograd.grad(
                    values[entry['gradient']['of']],
                    [x.tensors()[name] for name in names],
                    allow_unused=True,
                    materialize_grads=True)))
        values |= {
            f'gradient: {name}':
            torch.cat(
                (gradients[name].norm()[None], gradients[name].flatten()[:4]))
            for name in names
        }
    return {
        name: value.detach().tolist() if isinstance(value, Tensor) else value
        for name, value in values.items()
    }


def differences(entry: Entry, ours: Numbers, expected: Numbers) -> list[str]:
    """One line for each number that is not equal."""
    tolerance = COARSE.get(entry['id'], TOLERANCE)
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
