"""What a teacher reads from the inputs of its layers in a forward pass."""
import torch
from torch import Tensor, nn
from torch.nn.modules.instancenorm import _InstanceNorm

from tadfkd.structures import BNStatistics
from tadfkd.utils.precision import at_least_float32


def has_running_statistics(module: nn.Module) -> bool:
    """Whether it normalises by statistics of the training data."""
    # Not by class, because frozen and fused batch norms have their own
    # classes. The statistics of instance norm are per image, not per batch.
    return isinstance(getattr(module, 'running_mean', None), Tensor) \
        and isinstance(getattr(module, 'running_var', None), Tensor) \
        and not isinstance(module, _InstanceNorm | torch.jit.ScriptModule)


def read_bn_statistics(layer: nn.Module, inputs: Tensor) -> BNStatistics:
    """Mean and biased variance over all dimensions but the second."""
    variance_F, mean_F = torch.var_mean(
        at_least_float32(inputs),
        dim=[dim for dim in range(inputs.ndim) if dim != 1],
        unbiased=False)
    assert isinstance(layer.running_mean, Tensor)
    assert isinstance(layer.running_var, Tensor)
    return BNStatistics(mean_F, variance_F, layer.running_mean,
                        layer.running_var)


def read_features(layer: nn.Module, inputs: Tensor) -> Tensor:
    """One vector per sample: the mean over positions, if there are any."""
    if inputs.ndim > 2 and isinstance(layer, nn.Conv2d):
        return inputs.flatten(2).mean(2)
    return inputs.flatten(1, -2).mean(1) if inputs.ndim > 2 else inputs
