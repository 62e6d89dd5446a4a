"""The frozen teacher: the one boundary between a network and a method."""
from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tadfkd.structures import BNStatistics, TeacherOutput
from tadfkd.utils.capture import capture
from tadfkd.utils.classifiers import InputAdapter
from tadfkd.utils.errors import UserError


def _read_bn_statistics(layer: _BatchNorm, inputs: Tensor) -> BNStatistics:
    """Mean and biased variance over all dimensions but the second."""
    variance_F, mean_F = torch.var_mean(
        inputs.float(),
        dim=[dim for dim in range(inputs.ndim) if dim != 1],
        unbiased=False)
    assert layer.running_mean is not None and layer.running_var is not None
    return BNStatistics(mean_F, variance_F, layer.running_mean,
                        layer.running_var)


class BaseTeacher(nn.Module):
    """A frozen classifier that is asked about images in [0, 1].

    It normalises, resizes and orders channels itself. Always in eval mode,
    no parameter ever has a gradient, but gradients reach the images. No
    ``BaseModule`` of mmengine, so that ``Runner.train``, which initialises
    those, does not overwrite the loaded weights.

    Args:
        network: The classifier, with its weights.
        input_adapter: Maps images in [0, 1] to the network's input.
    """

    def __init__(self, network: nn.Module,
                 input_adapter: InputAdapter) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        self.input_adapter = input_adapter
        self.bn_layers = [
            module for module in network.modules()
            if isinstance(module, _BatchNorm) and module.track_running_stats
        ]
        self.train(False)

    @abstractmethod
    def logits(self, inputs_BCHW: Tensor) -> Tensor:
        """The network's (B, K) answer to inputs that are adapted already."""

    def forward(self,
                images_BCHW: Tensor,
                *,
                with_bn: bool = False,
                with_features: bool = False) -> TeacherOutput:
        """Ask the teacher.

        Args:
            images_BCHW: Float in [0, 1], RGB or one channel.
            with_bn: Whether to return batch-norm statistics of this forward.
            with_features: Whether to return the penultimate features.

        Returns:
            The answer; parts that were not asked for are None.

        Raises:
            UserError: If features are asked for and there is no linear
                layer whose input they could be.
        """
        bn_layers = self.bn_layers if with_bn else []
        heads = [self._classification_layer()] if with_features else []
        with capture(bn_layers, _read_bn_statistics) as statistics, \
                capture(heads, lambda _, inputs: inputs) as features:
            logits_BK = self.logits(self.input_adapter(images_BCHW))
        return TeacherOutput(
            logits_BK=logits_BK,
            features_BF=features[0] if with_features else None,
            bn_statistics=tuple(statistics) if with_bn else None)

    def _classification_layer(self) -> nn.Linear:
        layers = [
            module for module in self.network.modules()
            if isinstance(module, nn.Linear)
        ]
        if not layers:
            raise UserError(f'{type(self.network).__name__} has no linear '
                            'layer, so it has no penultimate features: use '
                            'an algorithm that needs none')
        return layers[-1]

    def train(self, mode: bool = True) -> 'BaseTeacher':
        """Always eval: loops call ``model.train()`` on everything."""
        return super().train(False)
