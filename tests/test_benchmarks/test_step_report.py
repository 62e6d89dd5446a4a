"""Medians and the table of them."""
import pytest

from benchmarks.floor import Needs
from benchmarks.step_report import Iteration, medians, step_table


def iteration(factor: float) -> Iteration:
    """Whose framework takes twice, the bare loop 1.5 times its floor."""
    return Iteration(
        Needs(2, 6),
        framework=dict(
            student=8 * factor, generator=11 * factor, outside=factor),
        bare=dict(student=6 * factor, generator=9 * factor),
        passes=dict(
            student=dict(forward=(2, factor), update=(1, 2 * factor)),
            generator=dict(update=(1, 6 * factor))))


GFLOP = dict(student=dict(forward=1.0, update=3.0), generator=dict(update=5.0))


def test_ratios_are_of_each_iteration() -> None:
    # A machine that is ten times slower in one of them changes no ratio.
    report = medians([iteration(1), iteration(10), iteration(1)], GFLOP, 16)
    assert report['framework_s'] == 20 and report['bare_s'] == 15
    assert report['floor_s'] == 10
    assert report['framework_over_bare'] == pytest.approx(20 / 15)
    assert report['framework_over_floor'] == 2
    student = report['steps']['student']
    assert (student['framework_s'], student['floor_s']) == (8, 4)
    assert student['passes']['forward'] == dict(times=2, seconds=1, gflop=1.0)
    assert report['images_per_second'] == 2
    assert report['gflops'] == (2 * 1 + 3 + 5) / 20
    assert report['outside_s'] == 1


def test_a_pass_that_only_some_iterations_need_has_its_seconds() -> None:
    other = iteration(1)
    del other.passes['student']['forward']
    report = medians([other, iteration(1)], GFLOP, 16)
    assert report['steps']['student']['floor_s'] == 3
    assert report['steps']['student']['passes']['forward']['seconds'] == 1


def test_the_table_has_a_row_for_each_step_and_pass() -> None:
    report = medians([iteration(1)], GFLOP, 16) | dict(
        device='cpu',
        threads=1,
        dtype='float32',
        batch_size=16,
        warmup_s=3.0,
        peak_memory_mib=100.0,
        gflops_peak=40.0)
    table = step_table(report)
    assert 'after 3 s of warm-up' in table
    assert '| student step | 8.0000 | 6.0000 | 4.0000 | 1.333 | 2.000 |' \
        in table
    assert '| whole iteration | 20.0000 | 15.0000 | 10.0000 |' in table
    assert '| student: forward | 2 | 1.0000 | 1.00 | 1 |' in table
