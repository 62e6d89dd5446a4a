"""Teachers from a function that builds a network, or from TorchScript."""
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tadfkd.classifiers.facts import Fact, Facts
from tadfkd.classifiers.own_network import build_own_network
from tadfkd.errors import UserError, reason_of
from tadfkd.registry import MODELS
from tadfkd.teachers.base_teacher import BaseTeacher
from tadfkd.teachers.checkpoint_teacher import CheckpointTeacher


@MODELS.register_module()
class ModuleTeacher(CheckpointTeacher):
    """Any PyTorch network, built by a function or class.

    The network takes the normalised images and returns logits. Only its owner
    knows its normalisation and size, so ``mean`` and ``std`` must be set, and
    ``input_size`` too unless the network has an ``img_size``.

    Args:
        factory: ``'package.module:function'`` of an installed package or one
            on ``PYTHONPATH``; or the callable or network itself.
        arguments: Keyword arguments of the factory.
        **options: Other arguments of
            :class:`~tadfkd.teachers.checkpoint_teacher.CheckpointTeacher`.
            Without a ``checkpoint``, the factory must load the weights.

    Raises:
        UserError: If the factory cannot be imported, fails, or does not
            return a network.
    """

    def __init__(self,
                 factory: str | Callable[..., nn.Module],
                 arguments: dict[str, Any] | None = None,
                 **options: Any) -> None:
        network = build_own_network(factory, arguments, 'teacher')
        options.setdefault('has_weights', True)
        super().__init__(network, {}, **options)


@MODELS.register_module()
class TorchScriptTeacher(BaseTeacher):
    """A TorchScript file, for a network whose source code is lost.

    torch cannot put hooks on its layers, so there are no batch-norm
    statistics and no penultimate features. ``mean``, ``std`` and
    ``input_size`` must be set, because the file does not contain them.

    Args:
        checkpoint: A file written by ``torch.jit.save``.
        trust_checkpoint: Must be True. TorchScript is a program, and torch
            cannot restrict what it does.
        **fields: Other arguments of :class:`BaseTeacher`.

    Raises:
        UserError: If the file is not trusted, or is not TorchScript.
    """

    def __init__(self,
                 checkpoint: str,
                 trust_checkpoint: bool = False,
                 **fields: Any) -> None:
        path = Path(checkpoint).expanduser()
        if not path.is_file():
            raise UserError(f'the TorchScript file {checkpoint} of the '
                            'teacher does not exist: set '
                            'model.teacher.checkpoint')
        if not _is_torch_script(path):
            raise UserError(
                f'{checkpoint} is not a TorchScript file: name one '
                'written by torch.jit.save, or choose another '
                'type of teacher for a state dict')
        if not trust_checkpoint:
            raise UserError(
                f'the TorchScript file {checkpoint} is a program and was not '
                'run: set model.teacher.trust_checkpoint=True if you trust '
                'whoever made it')
        network = _load(path, torch.device('cpu'))
        super().__init__(network, _facts_from_weights(network), **fields)
        self.path = path
        self.facts['weights'] = Fact(checkpoint, 'model.teacher')

    def _apply(self,
               fn: Callable,
               recurse: bool = True) -> 'TorchScriptTeacher':
        before = self.input_adapter.mean.device
        super()._apply(fn, recurse)
        device = self.input_adapter.mean.device
        if device != before and device.type != 'meta':
            # torch.jit.freeze turns weights into constants. They do not move
            # with the module, so the file is loaded again.
            self.network = _load(self.path, device).float()
        return self


def _is_torch_script(path: Path) -> bool:
    """Whether the archive has TorchScript's records; they are not read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(
                name.endswith('/constants.pkl') for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def _load(path: Path, device: torch.device) -> torch.jit.ScriptModule:
    try:
        network = torch.jit.load(path, map_location=device)
    except Exception as error:
        # Damaged bytes can raise any exception.
        raise UserError(f'{path} cannot be read as TorchScript '
                        f'({reason_of(error)}): name a file '
                        'written by torch.jit.save') from error
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    network.train(False)
    return network


def _facts_from_weights(network: torch.jit.ScriptModule) -> Facts:
    """The first weight of four dimensions is the first convolution's."""
    for parameter in (*network.parameters(), *network.buffers()):
        if parameter.ndim == 4:
            return dict(
                num_channels=Fact(parameter.shape[1], 'the first convolution'))
    return {}
