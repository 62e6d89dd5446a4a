"""Importing the package changes nothing in the process (design rule 4)."""
import subprocess
import sys

import tadfkd.apis

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
# mmengine imports transformers. timm is for teachers that come from it.
import sys
assert 'timm' not in sys.modules
"""

LAZY = """
import sys
import tadfkd
assert not {'torch', 'mmengine'} & {*sys.modules}
assert not hasattr(tadfkd, 'nothing')
assert not {'torch', 'mmengine'} & {*sys.modules}
"""


def test_the_package_imports_torch_at_the_first_use() -> None:
    process = subprocess.run([sys.executable, '-c', LAZY],
                             capture_output=True,
                             text=True)
    assert process.returncode == 0, process.stderr
    for name in tadfkd.apis.__all__:
        assert getattr(tadfkd, name) is getattr(tadfkd.apis, name)
        assert name in tadfkd.__all__


def test_an_import_changes_nothing_in_the_process() -> None:
    process = subprocess.run([sys.executable, '-c', CODE],
                             capture_output=True,
                             text=True)
    assert process.returncode == 0, process.stderr
