"""Where checkpoints go."""
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

from tadfkd.utils.files import write_atomically


@register_backend('atomic_local')
class AtomicLocalBackend(LocalBackend):
    """Local files that are whole or not there.

    mmengine writes checkpoints in place; killed half-way it leaves a torn
    one under its final name. Our
    :class:`~tadfkd.engine.hooks.CheckpointHook` takes this back end.
    """

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write beside ``filepath``, sync, and rename onto it."""
        write_atomically(filepath, obj)
