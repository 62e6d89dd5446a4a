"""Recorders of a run beside its files."""
from typing import Any

import numpy as np
from mmengine.visualization import MLflowVisBackend as _MLflowVisBackend

from tadfkd.registry import VISBACKENDS


@VISBACKENDS.register_module()
class MLflowVisBackend(_MLflowVisBackend):
    """mmengine's recorder for MLflow, which also takes images."""

    def add_image(self,
                  name: str,
                  image: np.ndarray,
                  step: int = 0,
                  **kwargs: Any) -> None:
        """Record an image under a name with a suffix, as MLflow needs it.

        Args:
            name: Name without suffix.
            image: Pixels of shape (H, W) or (H, W, C), in [0, 255].
            step: Number of the epoch, for the name.
        """
        super().add_image(f'{name}_{step}.png', image.squeeze())
