"""The one setting of oneDNN."""
import pytest

from tadfkd.utils.onednn import keep_compiled_kernels

NAME = 'ONEDNN_PRIMITIVE_CACHE_CAPACITY'


@pytest.mark.parametrize(('given', 'expected'), [(None, '16384'), ('7', '7')])
def test_a_value_of_the_user_is_left(monkeypatch: pytest.MonkeyPatch,
                                     given: str | None, expected: str) -> None:
    environment = {} if given is None else {NAME: given}
    monkeypatch.setattr('os.environ', environment)
    keep_compiled_kernels()
    assert environment == {NAME: expected}
