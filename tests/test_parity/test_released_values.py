"""Ours and the released code give the same numbers on the same tensors."""
import re
from typing import Any, NamedTuple

import pytest
import test_parity.ours  # noqa: F401 (it registers the callables)
from test_parity.harness import (differences, load_entries, our_numbers,
                                 released)

from tadfkd.algorithms import CMI, KAKR, PREDFKD, FastDFKD

ENTRIES = load_entries()


class OnPurpose(NamedTuple):
    """Numbers where ours does not repeat the released code.

    Attributes:
        said_by: The class whose docstring says why, and names both numbers.
        numbers: The released one and ours, as the docstring has them.
        ours: Our numbers by name; the entry's others are as released.
    """

    said_by: type
    numbers: tuple[str, str]
    ours: dict[str, Any]


DIFFERENT_ON_PURPOSE = {
    'cmi.bank_rows':
    OnPurpose(CMI, ('0', '12'), dict(rows_drawn=[0, 8, 12, 12, 12, 12, 12])),
    'fast.reptile':
    OnPurpose(
        FastDFKD, ('67', '1'),
        dict(meta_gradient=[
            [0.0932899117, 0.392112970, -0.401186168, 0.287771940],
            [-0.343509912, -0.695408702, -0.0876393914, 0.318228066],
            [0.861531019, -0.782628357, 0.0900039673, 0.146851480],
        ])),
    'predfkd.vae.later':
    OnPurpose(
        PREDFKD, ('2.80', '0.686'), {
            'gradient: decoder': [
                0.686019058, -0.0278742577, 0.00194463696, 0.0351670625,
                0.0115069506
            ]
        }),
    'predfkd.student.replay':
    OnPurpose(PREDFKD, ('1.40', '0'), dict(decoder_gradient_left=0.0)),
    'predfkd.encoder_input':
    OnPurpose(
        PREDFKD, ('1.00', '6.90'),
        dict(
            norm=68.7857415965,
            length_of_a_column=6.89916160377,
            first=[
                0.93721151352, -1.87156867981, -0.82400178909, -1.39467954636
            ])),
    'kakr.student.replay':
    OnPurpose(
        KAKR, ('1.04', '1.92'), {
            'loss':
            6.560517769,
            'replayed_at_w_ahead':
            2.440112932,
            'gradient: student_weight': [
                1.916093738, 0.0376824923, 0.0123876654, -0.0141164855,
                -0.0129826292
            ]
        }),
}


@pytest.mark.parametrize('id', ENTRIES)
def test_ours_are_the_released_numbers(id: str) -> None:
    """To 1e-5, but for those that differ on purpose."""
    entry = ENTRIES[id]
    expected = released(entry)
    if id in DIFFERENT_ON_PURPOSE:
        expected |= DIFFERENT_ON_PURPOSE[id].ours
    assert differences(entry, our_numbers(entry), expected) == []


@pytest.mark.parametrize('id', DIFFERENT_ON_PURPOSE)
def test_what_differs_on_purpose_is_said(id: str) -> None:
    """A number that is as released has no row, and each row is in words."""
    (said_by, numbers, ours), entry = DIFFERENT_ON_PURPOSE[id], ENTRIES[id]
    kept = {name: released(entry)[name] for name in ours}
    assert len(differences(entry, ours, kept)) == len(ours)
    docstring = said_by.__doc__ or ''
    assert 'released code' in docstring
    assert {*numbers} <= {*re.findall(r'[\d.]*\d', docstring)}
