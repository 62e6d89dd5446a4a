"""How growth is fitted."""
import pytest

from tadfkd.benchmarks.scale import growth, scale_table


def test_a_line_is_found() -> None:
    row = growth([1, 2, 4], [3.0, 5.0, 9.0])
    assert row['intercept'] == pytest.approx(1)
    assert row['slope'] == pytest.approx(2)
    assert row['largest_residual'] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize('power', [0.0, 1.0, 2.0])
def test_a_power_is_found(power: float) -> None:
    sizes = [2, 4, 8, 16]
    row = growth(sizes, [3 * size**power for size in sizes])
    assert row['power'] == pytest.approx(power, abs=1e-9)
    # A square is no line.
    assert (row['largest_residual'] > 0.1) == (power == 2.0)


def test_the_table_says_sizes_and_fit() -> None:
    table = scale_table(dict(batch_size=growth([1, 2], [3.0, 5.0])))
    assert '| 2 | 5.0000 |' in table
    assert '1.0000 s + 2 s x batch_size, within 0.0 %' in table
