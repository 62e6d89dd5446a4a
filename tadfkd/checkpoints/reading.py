"""Reading checkpoints from files and URLs, without running what they say."""
import contextlib
import hashlib
import http.client
import os
import pickle
import re
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader
from torch import nn

from tadfkd.checkpoints.inspection import inspect
from tadfkd.checkpoints.unpickling import load_restricted
from tadfkd.errors import UserError

# How publishers of weights name files: -<start of the SHA-256>.pth
_HASH = re.compile(r'-([0-9a-f]{8,64})\.\w+$')


def read_checkpoint(path: str | os.PathLike,
                    map_location: str | torch.device = 'cpu',
                    *,
                    trusted: bool = False,
                    opt_in: str | None = None) -> dict:
    """Read a checkpoint without running any code in it.

    Args:
        path: A file written by ``torch.save``, a ``.safetensors`` file, or
            the http or https URL of one. What is downloaded stays in torch's
            cache (``TORCH_HOME``) and must have the start of the SHA-256
            that its name has, if it has one.
        map_location: Where the tensors go.
        trusted: Whether the file may run code, because whoever made it is
            trusted.
        opt_in: The setting that makes it trusted, for the message if code
            is refused; None if there is none.

    Returns:
        The dictionary in the file; of a trusted file that holds a module,
        its state dict.

    Raises:
        UserError: If the file cannot be had, is unreadable, claims more
            than it holds, holds anything but data without being trusted, or
            holds no dictionary.
    """
    name = os.fspath(path)
    remedy = 'make it anew'
    if '://' in name:
        file = _downloaded(name)
        name = f'{name} (downloaded to {file})'
        remedy = 'delete that file to download it again'
    else:
        file = Path(os.path.expanduser(name))
        if not file.is_file():
            what = 'is a directory' if file.is_dir() else 'does not exist'
            raise UserError(f'checkpoint {name} {what}: name a file written '
                            'by torch.save')
    try:
        content = _load(file, map_location, trusted)
    except pickle.UnpicklingError as error:
        reason = str(error).strip()
        if 'GLOBAL' in reason:
            offender = reason.partition('GLOBAL ')[2].split()[0]
            hint = '' if opt_in is None else \
                f', or, if you trust whoever made it, set {opt_in}=True'
            raise UserError(
                f'checkpoint {name} was refused because it holds {offender}, '
                f'which is code and not data: save a plain state dict{hint}'
            ) from None
        raise UserError(f'checkpoint {name} cannot be read (damaged, or not '
                        f'written by torch.save): {remedy}') from None
    except Exception as error:
        if trusted and isinstance(error, ImportError | AttributeError):
            remedy = 'install what it was made with, or save a state dict'
        # The bytes are anybody's: there is no telling what the parsers of
        # zip, tar and pickle stumble over.
        reason = str(error).strip().partition('\n')[0]
        raise UserError(f'checkpoint {name} cannot be read '
                        f'({reason or type(error).__name__}): '
                        f'{remedy}') from error
    if isinstance(content, nn.Module):
        content = content.state_dict()
    if not isinstance(content, dict):
        raise UserError(f'checkpoint {name} holds a '
                        f'{type(content).__name__}, not a dictionary: save '
                        'a state dict')
    return content


def _load(file: Path, map_location: Any, trusted: bool) -> Any:
    if file.suffix == '.safetensors':
        return safetensors.torch.load_file(file, str(map_location))
    if trusted:
        return torch.load(file, map_location=map_location, weights_only=False)
    inspect(file)
    return load_restricted(file, map_location)


def _downloaded(url: str) -> Path:
    """The file in torch's cache, fetched if it is not there."""
    try:
        parts = urllib.parse.urlsplit(url)
        usable = parts.scheme in ('http', 'https') and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        raise UserError(f'checkpoint {url} is neither a file nor an http or '
                        'https URL: give such a URL, or download it and name '
                        'the file')
    name = Path(urllib.parse.unquote(parts.path)).name or 'checkpoint.pth'
    found = _HASH.search(name)
    folder = Path(torch.hub.get_dir(), 'checkpoints')
    if found is None:
        # Many are called model.safetensors: the address tells them apart.
        folder /= hashlib.sha256(url.encode()).hexdigest()[:16]
    path = folder / name
    if path.is_file():
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone_in(folder):
            # Another process may have had it in the meantime. If that one
            # failed, this one tries, and says itself what is wrong.
            if not path.is_file():
                print_log(f'downloading {url} to {path}', logger='current')
                torch.hub.download_url_to_file(
                    url,
                    str(path),
                    hash_prefix=None if found is None else found[1],
                    progress=sys.stderr.isatty())
    # What torch.hub raises for another hash is a RuntimeError.
    except (OSError, RuntimeError, ValueError,
            http.client.HTTPException) as error:
        raise UserError(f'checkpoint {url} cannot be downloaded ({error}): '
                        'check the address, or download it yourself and name '
                        'the file') from error
    return path


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Let one process at a time download to a folder.

    A lock and no barrier of the process group: it needs no agreement of all
    processes on whether the file is there, and ends with who holds it.
    """
    with contextlib.ExitStack() as stack:
        # Some network file systems lock no folders, and Windows none: then
        # each process downloads for itself, and the last puts its file there.
        with contextlib.suppress(OSError, ImportError):
            import fcntl
            descriptor = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def use_restricted_unpickling() -> None:
    """Make mmengine read all it is told to by :func:`read_checkpoint`.

    By itself it calls ``torch.load`` with the defaults of the installed
    torch: older ones run whatever the file says, newer ones refuse
    mmengine's own checkpoints. Its other schemes, such as ``torchvision://``
    and ``s3://``, are refused, because they would be read that way.
    """
    for scheme in [*CheckpointLoader._schemes]:
        CheckpointLoader.register_scheme(scheme, _load_for_mmengine, True)


def _load_for_mmengine(filename: str, _map_location: object = None) -> dict:
    # Not to the GPU, as its Runner asks for: the pools of all processes would
    # not fit, and counts that optimisers keep on the CPU would have to be
    # waited for in each step. Weights and states of optimisers are copied to
    # where their parameters are.
    return read_checkpoint(filename, 'cpu')
