"""Importing the package changes nothing in the process (design rule 4)."""
import subprocess
import sys

# The libraries come first: what their own imports change is not ours.
CODE = """
import gc, os
import mmengine.runner, torch, torchvision
from mmengine.runner.checkpoint import CheckpointLoader

def state():
    return (dict(os.environ), gc.get_freeze_count(), gc.isenabled(),
            gc.get_threshold(), dict(CheckpointLoader._schemes),
            torch.get_num_threads(), torch.get_rng_state().tolist())

before = state()
import tadfkd
import tadfkd.apis
after = state()
for old, new in zip(before, after, strict=True):
    assert old == new, (old, new)
"""


def test_an_import_changes_nothing_in_the_process() -> None:
    process = subprocess.run([sys.executable, '-c', CODE],
                             capture_output=True,
                             text=True)
    assert process.returncode == 0, process.stderr
