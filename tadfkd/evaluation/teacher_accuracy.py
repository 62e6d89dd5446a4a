"""Accuracy of the teacher on the evaluation data of a run."""
from collections.abc import Sized
from typing import cast

import torch
from mmengine.evaluator import Evaluator
from torch.utils.data import DataLoader

from tadfkd.algorithms import BaseDFKD
from tadfkd.classifiers.outputs import with_predictions


@torch.no_grad()
def teacher_metrics(model: BaseDFKD, loader: DataLoader,
                    evaluator: Evaluator) -> dict[str, float]:
    """Evaluate the teacher as the validation loop evaluates the student.

    Every process of a distributed run must call this function.

    Args:
        model: The algorithm, with its teacher.
        loader: The evaluation data.
        evaluator: The metrics.

    Returns:
        Values by metric name, accuracies in percent.
    """
    for batch in loader:
        data = model.data_preprocessor(batch, False)
        logits_BK = model.teacher(data['inputs']).logits_BK
        evaluator.process(
            data_samples=with_predictions(logits_BK, data['data_samples'],
                                          model.activation),
            data_batch=batch)
    return evaluator.evaluate(len(cast(Sized, loader.dataset)))
