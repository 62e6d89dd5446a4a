"""Accuracy of the teacher, by the run's own evaluation."""
import torch
from mmengine.runner import Runner

from tadfkd.utils.classifiers import with_predictions
from tadfkd.utils.wrappers import unwrapped


@torch.no_grad()
def teacher_metrics(runner: Runner) -> dict[str, float]:
    """The metrics that the validation loop takes of the student.

    Args:
        runner: Of a DFKD run that has a validation loop. Every process of a
            distributed run must call this.
    """
    model = unwrapped(runner.model)
    loader = runner.val_dataloader
    evaluator = runner.val_loop.evaluator
    for batch in loader:
        data = model.data_preprocessor(batch, False)
        logits_BK = model.teacher(data['inputs']).logits_BK
        evaluator.process(
            data_samples=with_predictions(logits_BK, data['data_samples']),
            data_batch=batch)
    return evaluator.evaluate(len(loader.dataset))
