"""How growth is fitted."""
import pytest

from benchmarks import benchmark_scale, profile_training
from benchmarks.scale import growth, scale_table
from tadfkd.errors import UserError


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


@pytest.mark.parametrize('iterations, warmup, message', [
    (0, 2, 'iterations must be a whole number >= 1, got 0'),
    (1, -1, 'warmup must be a whole number >= 0, got -1'),
])
def test_too_few_iterations_are_refused(digits_config: str, iterations: int,
                                        warmup: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        benchmark_scale(
            digits_config, [2, 4], [10, 20],
            iterations=iterations,
            warmup=warmup)
    with pytest.raises(UserError, match=message):
        profile_training(digits_config, iterations=iterations, warmup=warmup)
