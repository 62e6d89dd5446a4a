"""Where checkpoints go."""
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

from tadfkd.utils.files import write_atomically


@register_backend('atomic_local')
class AtomicLocalBackend(LocalBackend):
    """Local files that are whole or not there.

    mmengine writes checkpoints in place; killed half-way it leaves a torn
    one under its final name. ``CheckpointHook`` takes this back end by
    ``backend_args=dict(backend='atomic_local')``.
    """

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write beside ``filepath``, sync, and rename onto it."""
        write_atomically(filepath, obj)
