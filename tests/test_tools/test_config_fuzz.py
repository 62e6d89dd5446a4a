"""Hundreds of configs with a mistake: each run ends in one sentence or well.

``FUZZ_CASES=5000`` in the environment runs more of them.
"""
import os
import random

import pytest
from config_fuzz import LEAVES, Case, Fuzz, complaint, name_of

CASES = int(os.environ.get('FUZZ_CASES', 500))
#: Of one test: few enough that workers share them evenly.
PART = 25


@pytest.fixture(scope='module')
def fuzz(tmp_path_factory: pytest.TempPathFactory) -> Fuzz:
    """Ready to run cases."""
    return Fuzz(tmp_path_factory.mktemp('fuzz'))


@pytest.fixture(scope='module')
def drawn(fuzz: Fuzz) -> list[Case]:
    """The same in each process."""
    return random.Random(0).sample(fuzz.cases(), CASES)


@pytest.mark.parametrize('leaf', [name_of(leaf) for leaf in LEAVES])
def test_without_a_mistake_it_runs(fuzz: Fuzz, leaf: str) -> None:
    outcome = fuzz.run(Case(leaf, 'set', ()))
    assert (outcome.kind, outcome.message) == ('success', '')


@pytest.mark.parametrize('first', range(0, CASES, PART))
def test_a_mistake_ends_in_one_sentence(fuzz: Fuzz, drawn: list[Case],
                                        first: int) -> None:
    complaints = [
        f'{case}: {wrong}' for case in drawn[first:first + PART]
        if (wrong := complaint(fuzz.run(case)))
    ]
    assert complaints == []
