"""tools/export.py and tools/predict.py, as a user calls them."""
import subprocess
from collections.abc import Callable
from pathlib import Path

Run = Callable[..., subprocess.CompletedProcess]


def test_mistakes_end_in_one_sentence(run_tool_process: Run,
                                      tmp_path: Path) -> None:
    for tool, arguments in (('export.py', [tmp_path]), ('predict.py',
                                                        [tmp_path, tmp_path])):
        process = run_tool_process(tool, *arguments, check=False)
        assert process.returncode == 1
        assert process.stderr.splitlines()[-1].startswith('error: ')
        assert 'Traceback' not in process.stderr
