"""The processes that tests run tools in."""
import importlib

import pytest
from tool_processes import PRELOADED


@pytest.mark.parametrize('name', PRELOADED)
def test_what_is_preloaded_can_be(name: str) -> None:
    # A server that cannot import it goes on without.
    importlib.import_module(name)
