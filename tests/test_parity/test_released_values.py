"""Ours and the released code give the same numbers on the same tensors."""
import re

import pytest
import test_parity.ours  # noqa: F401 (it registers the callables)
from test_parity.derivations import DERIVED
from test_parity.harness import (callable_for, differences, load_entries,
                                 our_numbers)
from test_parity.tables import (DIFFERENT_ON_PURPOSE, NOT_OURS, NOT_SAID_YET,
                                NOT_YET)

ENTRIES = load_entries()
TABLES = (DIFFERENT_ON_PURPOSE, NOT_YET, NOT_OURS)


def _marks(id: str) -> list[pytest.MarkDecorator]:
    if id in NOT_OURS:
        return [pytest.mark.skip(reason=NOT_OURS[id])]
    if id in NOT_YET:
        return [pytest.mark.xfail(reason=NOT_YET[id], strict=True)]
    return []


@pytest.mark.parametrize(
    'id', [pytest.param(id, id=id, marks=_marks(id)) for id in ENTRIES])
def test_ours_are_the_released_numbers(id: str) -> None:
    """To 1e-5, but for those that differ on purpose."""
    entry = ENTRIES[id]
    expected = dict(entry.released)
    if id in DIFFERENT_ON_PURPOSE:
        expected |= DIFFERENT_ON_PURPOSE[id].ours
    assert differences(entry, our_numbers(entry), expected) == []


@pytest.mark.parametrize('id', DIFFERENT_ON_PURPOSE)
def test_what_differs_on_purpose_differs(id: str) -> None:
    """A number that is as released has no row."""
    row, entry = DIFFERENT_ON_PURPOSE[id], ENTRIES[id]
    assert row.ours.keys() <= entry.released.keys()
    kept = {name: entry.released[name] for name in row.ours}
    assert len(differences(entry, row.ours, kept)) == len(row.ours)


@pytest.mark.parametrize('id', [
    pytest.param(
        id,
        marks=[pytest.mark.xfail(strict=True)] if id in NOT_SAID_YET else [])
    for id in DIFFERENT_ON_PURPOSE
])
def test_the_docstring_names_both_numbers(id: str) -> None:
    """Of what differs on purpose."""
    row = DIFFERENT_ON_PURPOSE[id]
    said = re.findall(r'[\d.]*\d', row.said_by.__doc__ or '')
    assert 'released code' in (row.said_by.__doc__ or '')
    assert {*row.numbers} <= {*said}


@pytest.mark.parametrize('id', DERIVED)
def test_derived_numbers_are_those_of_numpy(id: str) -> None:
    """Those of the entry, and ours where they differ on purpose."""
    entry = ENTRIES[id]
    assert entry.origin != 'released code'
    arrays = {
        name: value.detach().numpy()
        for name, value in entry.make_inputs().tensors().items()
    }
    derived = DERIVED[id](arrays, entry.parameters)
    assert differences(entry, derived['released'], entry.released) == []
    if id in DIFFERENT_ON_PURPOSE:
        ours = DIFFERENT_ON_PURPOSE[id].ours
        assert differences(entry, derived['ours'], ours) == []


def test_the_tables_name_entries() -> None:
    """Each row is of an entry, and what is not ours is in no other table."""
    for table in TABLES:
        assert table.keys() <= ENTRIES.keys()
    assert not NOT_OURS.keys() & (NOT_YET.keys() | DIFFERENT_ON_PURPOSE.keys())
    assert NOT_SAID_YET <= DIFFERENT_ON_PURPOSE.keys()


def test_every_entry_has_a_callable() -> None:
    """Unless it is in the table of those that are not ours."""
    assert [
        id for id in ENTRIES if id not in NOT_OURS and not callable_for(id)
    ] == []
