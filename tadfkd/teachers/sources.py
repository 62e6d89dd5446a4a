"""From whatever a user calls a teacher to the config of a teacher."""
import os
from pathlib import Path
from typing import Any

from tadfkd.classifiers.own_network import factory_of
from tadfkd.errors import UserError


def teacher_from(source: Any, checkpoint: str | None = None) -> dict:
    """The config of a teacher.

    Args:
        source: A name of mmpretrain's zoo, a classifier's config,
            ``timm::NAME``, ``transformers::FOLDER``, ``torchvision::NAME``,
            ``package.module:factory``, a TorchScript or ONNX file, an
            ``nn.Module``, a class or function that builds one, or the config
            itself.
        checkpoint: File of the weights, for a source without weights.

    Raises:
        UserError: If the source cannot be a teacher, or has its weights and a
            checkpoint is given.

    Example:
        >>> teacher_from('torchvision::resnet18')
        {'type': 'TorchvisionTeacher', 'model': 'resnet18'}
    """
    if isinstance(source, dict):
        found = dict(source)
    elif not isinstance(source, str | os.PathLike):
        if not callable(source):
            raise UserError('a teacher must be a network, a class or function '
                            'that builds one, a name, a file or a config, got '
                            f'{type(source).__name__}: give one of these')
        found = dict(type='ModuleTeacher', factory=factory_of(source))
    else:
        found = _from_name(os.fspath(source), checkpoint)
    if checkpoint is not None:
        found['checkpoint'] = checkpoint
    return found


def _from_name(source: str, checkpoint: str | None) -> dict:
    library, _, name = source.partition('::')
    suffix = Path(source).suffix.lower()
    if library == 'torchvision':
        return dict(type='TorchvisionTeacher', model=name)
    program = {
        '.onnx': 'ONNXTeacher'
    } | dict.fromkeys(
        ('.pt', '.pth', '.ts', '.torchscript'), 'TorchScriptTeacher')
    if suffix in program:
        if checkpoint is not None:
            kind = program[suffix].removesuffix('Teacher')
            raise UserError(f'{source} is read as {kind}, which contains its '
                            'weights, but a checkpoint is given too '
                            f'({checkpoint}): leave the checkpoint out')
        return dict(type=program[suffix], checkpoint=source)
    if ':' in source and '::' not in source:
        return dict(type='ModuleTeacher', factory=source)
    return dict(type='MMPretrainTeacher', model=source)
