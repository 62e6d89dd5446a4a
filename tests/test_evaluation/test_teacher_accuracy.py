"""Accuracy of the teacher."""
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from tadfkd.algorithms import BaseDFKD
from tadfkd.datasets import Digits
from tadfkd.evaluation import teacher_metrics


@pytest.fixture
def arguments(tiny_model: BaseDFKD, tiny_config: Config) -> tuple[Any, ...]:
    """The model, and loader and evaluator of the config's test data."""
    init_default_scope('tadfkd')
    loader = Runner.build_dataloader(tiny_config.val_dataloader)
    evaluator = Evaluator(tiny_config.val_evaluator)
    evaluator.dataset_meta = loader.dataset.metainfo
    return tiny_model, loader, evaluator


def accuracy_by_hand(model: BaseDFKD) -> float:
    """Percent of the test digits that the bare network gets right."""
    dataset = Digits('test')
    pixels_BHWC = np.stack([dataset[i]['img'] for i in range(599)])
    labels_B = np.array([dataset[i]['gt_label'] for i in range(599)])
    inputs_BHWC = (pixels_BHWC.astype(np.float32) - 77.7) / 81.2
    with torch.no_grad():
        logits_BK = model.teacher.network(
            torch.from_numpy(inputs_BHWC.transpose(0, 3, 1, 2)), mode='tensor')
    return 100 * np.mean(logits_BK.numpy().argmax(1) == labels_B)


def test_the_accuracy_is_that_computed_by_hand(
        arguments: tuple[Any, ...]) -> None:
    expected = accuracy_by_hand(arguments[0])
    assert expected > 50, 'the teacher knows nothing'
    metrics = teacher_metrics(*arguments)
    # Rounding may decide the class of a digit.
    assert metrics['accuracy/top1'] == pytest.approx(expected, abs=0.2)
    # The evaluator is empty again, ready for the student.
    assert [metric.results for metric in arguments[2].metrics] == [[]]
