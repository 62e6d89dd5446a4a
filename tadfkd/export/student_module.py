"""The student as one module: images in [0, 1] go in, logits come out."""
import importlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tadfkd.checkpoints.reading import read_checkpoint
from tadfkd.checkpoints.weights import load_weights
from tadfkd.classifiers.build import build_classifier
from tadfkd.classifiers.configs import OWN_NETWORK, without_pretrained_weights
from tadfkd.classifiers.input_adapter import InputAdapter
from tadfkd.classifiers.outputs import OutputPart, classifier_logits
from tadfkd.classifiers.own_network import (ModuleClassifier, factory_of,
                                            plain_network)
from tadfkd.errors import UserError, reason_of
from tadfkd.utils.library_errors import registries

WEIGHTS, DESCRIPTION = 'model.safetensors', 'config.json'
PROGRAM = 'student.pt2'
#: Arguments by which a registered component imports or runs code.
_RUNS_CODE = {'factory', 'trust_checkpoint', 'trust_remote_code'}


class Student(nn.Module):
    """A classifier with its normalisation.

    Args:
        network: Takes normalised images and ``mode='tensor'``.
        adapter: From images in [0, 1] to normalised images.
        output: Which part of the network's output the logits are.
        logit_scale: The logits are multiplied by it.
    """

    def __init__(self,
                 network: nn.Module,
                 adapter: InputAdapter,
                 output: OutputPart = None,
                 logit_scale: float = 1.0) -> None:
        super().__init__()
        self.network = network
        self.adapter = adapter
        self.output = output
        self.logit_scale = logit_scale

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """The (B, K) logits of RGB or grey images, float32 in [0, 1]."""
        logits_BK = classifier_logits(self.network, self.adapter(images_BCHW),
                                      self.output)
        return logits_BK if self.logit_scale == 1 else \
            logits_BK * self.logit_scale


def load_student(folder: str | os.PathLike,
                 network: Any = None,
                 trust_program: bool = False) -> nn.Module:
    """Load a student from ``config.json`` and ``model.safetensors``.

    Neither file can run code: the network is built from registered components
    only. The network of a student of your own is not in these files, so you
    give it; or ``student.pt2`` is run, which is a program.

    Args:
        folder: The folder ``student/`` of a run.
        network: For a student of your own: a network, a class or function
            that builds one, or ``'package.module:factory'``. It gets the
            weights.
        trust_program: Whether ``student.pt2`` may run where a network of your
            own is not given. Only for files from people whom you trust.

    Returns:
        The student on the CPU, in eval mode. It maps images, float32 (B, C,
        H, W) in [0, 1] and of the run's size, to (B, K) logits.

    Raises:
        UserError: If a file is missing or damaged, or if the network cannot
            be built here.
    """
    path, description = Path(folder, WEIGHTS), read_description(folder)
    own = None
    if is_own(description) and network is None:
        if trust_program:
            return _ExportedStudent(Path(folder, PROGRAM))
        factory = description['architecture'].get('factory')
        raise UserError(
            f'the student in {folder} is a network of its own ({factory}), '
            'which config.json cannot hold: give load_student(network=...), '
            f'or trust_program=True to run {PROGRAM}')
    if network is not None:
        own = ModuleClassifier(
            factory_of(network), description['architecture'].get('arguments')
            if not isinstance(network, nn.Module) else None)
    return build_student_module(description, read_checkpoint(path), str(path),
                                own)


def is_own(description: dict[str, Any]) -> bool:
    """Whether the student is a network that no registry has."""
    return description['architecture']['type'] == OWN_NETWORK


class _ExportedStudent(nn.Module):
    """A program of ``torch.export``, always in eval mode."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        if not path.is_file():
            raise UserError(f'{path} does not exist: write it by tadfkd '
                            'export, or give load_student(network=...)')
        self.program = torch.export.load(path).module()
        self.training = False

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """See :meth:`Student.forward`."""
        return self.program(images_BCHW)

    def train(self, mode: bool = True) -> '_ExportedStudent':
        """Stay in eval mode; torch refuses to switch a program."""
        return self


def read_description(folder: str | os.PathLike) -> dict[str, Any]:
    """The content of ``config.json``.

    Raises:
        UserError: If it is missing or damaged.
    """
    path = Path(folder, DESCRIPTION)
    if not path.is_file():
        raise UserError(f'{folder} has no {DESCRIPTION}, so it holds no '
                        'student: name the folder student/ of a finished '
                        'run, or write it by tadfkd export')
    try:
        description = json.loads(path.read_bytes())
        description['architecture']['type']
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f'{path} cannot be read ({reason_of(error)}): write '
                        'it again by tadfkd export') from error
    return description


@torch.no_grad()
def build_student_module(description: dict[str, Any],
                         weights: dict[str, Tensor],
                         source: str,
                         network: nn.Module | None = None) -> Student:
    """A student in eval mode from what ``student/`` holds.

    Args:
        description: The content of ``config.json``.
        weights: By the names of the network.
        source: Where both are from, for messages.
        network: A network of the user's own, which gets the weights. None
            builds the one that the description names.

    Raises:
        UserError: If the network cannot be built, or a weight does not fit.
    """
    if network is None:
        architecture = without_pretrained_weights(description['architecture'])
        _require_registered(architecture, source)
        network = build_classifier(architecture, 'architecture in config.json')
    load_weights(plain_network(network), weights, source)
    student = Student(
        network,
        InputAdapter(
            description['mean_255'],
            description['std_255'],
            description['channel_order'],
            tuple(description['network_size'])
            if description['network_size'] else None,
            owner=DESCRIPTION,
            grey_to_rgb=True), description['output'],
        description['logit_scale'])
    # Some networks compute values from their weights when they enter eval
    # mode.
    return student.train().eval()


def _require_registered(part: Any, source: str) -> None:
    """Refuse types that are no components, because mmengine would import and
    call any function that a type names."""
    # mmengine knows the registries of packages that are imported.
    importlib.import_module('mmpretrain.registry')
    known: dict[str, set[str]] = {}
    for registry in registries():
        registry.import_from_location()
        known.setdefault(registry.scope, set()).update(registry.module_dict)
    pending = [part]
    while pending:
        part = pending.pop()
        if isinstance(part, dict):
            for name in _RUNS_CODE & part.keys():
                raise UserError(f'{source} belongs to a network with {name!r},'
                                ' which would run code: write the student '
                                'again by tadfkd export')
            pending += part.values()
            kind = part.get('type')
            scope, dot, name = str(kind).rpartition('.')
            names = known.get(scope, set()) if dot else set().union(
                *known.values())
            if 'type' in part and name not in names:
                raise UserError(
                    f'{source} belongs to a network of type {kind!r}, which '
                    'is not registered here: import the package that '
                    'registers it first')
        elif isinstance(part, list | tuple):
            pending += part
