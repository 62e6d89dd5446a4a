"""Files and changes of file in a trace."""
import runpy
from pathlib import Path

from benchmarks.step_path import calls_of, count_path

ONE = """
def outer(inner):
    helper()
    for _ in range(2):
        inner()
    helper()

def helper():
    pass
"""
TWO = """
def inner():
    list(generated())

def generated():
    yield
"""


def test_changes_of_file_are_counted_by_calls(tmp_path: Path) -> None:
    for name, source in (('a/one.py', ONE), ('b/two.py', TWO)):
        path = tmp_path / name
        path.parent.mkdir()
        path.write_text(source)
    one = runpy.run_path(str(tmp_path / 'a/one.py'))
    two = runpy.run_path(str(tmp_path / 'b/two.py'))
    calls = calls_of(lambda: one['outer'](two['inner']))
    # outer, helper | inner, generated, inner, generated | helper
    assert count_path(calls, tmp_path) == dict(
        files=2,
        changes=2,
        changes_each_function_once=1,
        path=['a/one.py', 'b/two.py'])
    assert count_path(calls, tmp_path, ['b']) == dict(
        files=1, changes=0, changes_each_function_once=0, path=['b/two.py'])
