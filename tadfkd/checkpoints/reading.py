"""Read checkpoints from files and URLs without running code in them."""
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
from tadfkd.errors import UserError, reason_of

# Published weights are named NAME-<start of the SHA-256>.pth.
_HASH = re.compile(r'-([0-9a-f]{8,64})\.\w+$')


def read_checkpoint(path: str | os.PathLike,
                    *,
                    trusted: bool = False,
                    opt_in: str | None = None) -> dict:
    """Read a checkpoint without running any code in it.

    All tensors are on the CPU.

    Args:
        path: A file written by ``torch.save``, a ``.safetensors`` file, or
            the http or https URL of one. A downloaded file stays in torch's
            cache (``TORCH_HOME``). If its name contains the start of a
            SHA-256, the file must match it.
        trusted: Whether code in the file may run. Only for files from people
            whom you trust.
        opt_in: The setting that makes the file trusted, for the message; None
            if there is no such setting.

    Returns:
        The dictionary in the file. If a trusted file holds a module, its
        state dict.

    Raises:
        UserError: If the file is missing, unreadable, or not a dictionary,
            cannot be downloaded, or claims more memory than it holds; or if
            it holds code and is not trusted.
    """
    name = os.fspath(path)
    remedy = 'save it again'
    if '://' in name:
        file = _download(name)
        name = f'{name} (downloaded to {file})'
        remedy = 'delete that file to download it again'
    else:
        file = Path(os.path.expanduser(name))
        if not file.is_file():
            what = 'is a directory' if file.is_dir() else 'does not exist'
            raise UserError(f'checkpoint {name} {what}: name a file written '
                            'by torch.save')
    try:
        content = _load(file, trusted)
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
            remedy = 'install the package that it needs, or save a state dict'
        # Forged bytes can raise any exception in the parsers of zip, pickle
        # and safetensors.
        raise UserError(f'checkpoint {name} cannot be read '
                        f'({reason_of(error)}): {remedy}') from error
    if isinstance(content, nn.Module):
        content = content.state_dict()
    if not isinstance(content, dict):
        raise UserError(f'checkpoint {name} holds a '
                        f'{type(content).__name__}, not a dictionary: save '
                        'a state dict')
    return content


def _load(file: Path, trusted: bool) -> Any:
    if file.suffix == '.safetensors':
        return safetensors.torch.load_file(file)
    if trusted:
        return torch.load(file, map_location='cpu', weights_only=False)
    inspect(file)
    return load_restricted(file)


def _download(url: str) -> Path:
    """The path of the file in torch's cache; it is downloaded at most once."""
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
    hash_in_name = _HASH.search(name)
    folder = Path(torch.hub.get_dir(), 'checkpoints')
    if hash_in_name is None:
        # Many files are called model.safetensors, so each address gets a
        # folder of its own.
        folder /= hashlib.sha256(url.encode()).hexdigest()[:16]
    path = folder / name
    if path.is_file():
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            # Another process may have downloaded it in the meantime. If that
            # process failed, this one tries and reports the cause itself.
            if not path.is_file():
                print_log(f'downloading {url} to {path}', logger='current')
                torch.hub.download_url_to_file(
                    url,
                    str(path),
                    hash_prefix=hash_in_name and hash_in_name[1],
                    progress=sys.stderr.isatty())
    # torch.hub raises a RuntimeError if the hash differs.
    except (OSError, RuntimeError, ValueError,
            http.client.HTTPException) as error:
        raise UserError(f'checkpoint {url} cannot be downloaded ({error}): '
                        'check the address, or download it yourself and name '
                        'the file') from error
    return path


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time download to a folder.

    A file lock works where a barrier of the process group would not: processes
    need not agree whether the file is there, and the lock of a process ends
    with that process.
    """
    with contextlib.ExitStack() as stack:
        # Windows and some network file systems cannot lock folders. There,
        # each process downloads the file, and the last one keeps its copy.
        with contextlib.suppress(OSError, ImportError):
            import fcntl
            descriptor = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def restricted_unpickling() -> Iterator[None]:
    """Within the block, mmengine reads checkpoints by :func:`read_checkpoint`.

    mmengine itself calls ``torch.load`` with the defaults of the installed
    torch, which refuse mmengine's own checkpoints. Files and http URLs are
    read; other schemes, such as ``torchvision://`` and ``s3://``, are refused.
    The loaders of mmengine are restored when the block ends.
    """
    schemes = CheckpointLoader._schemes
    CheckpointLoader._schemes = dict.fromkeys(schemes, _load_for_mmengine)
    try:
        yield
    finally:
        CheckpointLoader._schemes = schemes


def _load_for_mmengine(filename: str, _map_location: object = None) -> dict:
    # mmengine's Runner asks for the GPU. The CPU is better: the pools of all
    # processes would not fit on one GPU, and step counts that an optimiser
    # keeps on the CPU would be synchronised in each step. Weights and
    # optimiser states are copied to the device of their parameters anyway.
    return read_checkpoint(filename)
