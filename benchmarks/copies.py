"""Copies of a model's networks that train apart from it."""
import copy

import torch
from mmengine.optim import OptimWrapperDict
from torch import nn

from tadfkd.algorithms import TADFKD
from tadfkd.engine import AutocastOptimWrapper
from tadfkd.networks.compiling import compile_in_place


class Copies:
    """Student and generator of a model, with optimisers of their own.

    Args:
        model: Does not change.
        wrappers: Of its optimisers, whose settings are copied.
    """

    def __init__(self, model: TADFKD, wrappers: OptimWrapperDict) -> None:
        self.model = model
        self.generator = copy.deepcopy(model.generator)
        self.student = copy.deepcopy(model.student)
        self.compile_like_model(self.generator, self.student)
        self.student_optimizer = _copied(wrappers['student'].optimizer,
                                         self.student)
        self.generator_optimizer = _copied(wrappers['generator'].optimizer,
                                           self.generator)
        self.is_autocast = isinstance(wrappers['student'],
                                      AutocastOptimWrapper)

    def compile_like_model(self, *networks: nn.Module) -> None:
        """Copies are not compiled, even if the model's networks are."""
        if self.model.compiled_with:
            compile_in_place(self.model.compiled_with, *networks)

    def autocast(self) -> torch.autocast:
        """The context of forward passes, as the model's wrappers have it."""
        return torch.autocast(
            self.model.device.type, torch.bfloat16, enabled=self.is_autocast)


def _copied(optimizer: torch.optim.Optimizer,
            network: nn.Module) -> torch.optim.Optimizer:
    return type(optimizer)(network.parameters(), **optimizer.defaults)
