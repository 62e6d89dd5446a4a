"""The precision in which losses and statistics are computed."""
import torch
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """float16 and bfloat16 as float32; float32 and float64 as they are.

    Sums over a batch are too coarse in half precision. float64 stays, so that
    a whole model in float64 is computed in float64.
    """
    half = values.dtype in (torch.float16, torch.bfloat16)
    return values.float() if half else values
