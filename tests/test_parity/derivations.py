"""Numbers that no public code gives, derived in NumPy float64.

Each function takes the inputs as arrays and the parameters of an entry. It
returns ``released``, what the entry's values are, and ``ours``, where that
differs on purpose.
"""
from collections.abc import Callable
from typing import Any

import numpy as np
from equations import softmax

Arrays = dict[str, np.ndarray]


def slow_generator(x: Arrays, parameters: dict) -> dict[str, dict]:
    """G' <- m G' + (1 - m) G after each step."""
    decay, slow = parameters['decay'], x['start']
    for step in (1, 2, 3):
        slow = decay * slow + (1 - decay) * x[f'step_{step}']
    return dict(released=dict(weights=slow))


def student_mode(x: Arrays, parameters: dict) -> dict[str, dict]:
    """Statistics of the batch (train mode) or running ones (eval mode)."""
    images = x['images']
    q = softmax((images**2).mean((2, 3)) @ x['teacher_weight'].T,
                parameters['temperature'])

    def adversarial(mean_C: np.ndarray, variance_C: np.ndarray) -> float:
        pooled = (images.mean((2, 3)) - mean_C) / np.sqrt(variance_C + 1e-5)
        p = softmax(pooled @ x['student_weight'].T, parameters['temperature'])
        p, q_, m = (
            np.clip(rows, *parameters['clamp'])
            for rows in (p, q, (p + q) / 2))
        swapped = m * (np.log(m / p) + np.log(m / q_)) / 2
        return 1 - min(max(float(swapped.mean()), 0.0), 1.0)

    return dict(
        released=dict(
            adversarial=adversarial(
                images.mean((0, 2, 3)), images.var((0, 2, 3)))),
        ours=dict(
            adversarial=adversarial(x['running_mean'], x['running_var'])))


def best_images(x: Arrays, parameters: dict) -> dict[str, dict]:
    """Those of the last step, or those of the lowest loss."""
    lowest = int(np.argmin(parameters['losses'])) + 1
    return {
        whose: dict(first=0.5 + 0.25 * x[f'step_{step}'].flatten()[:4])
        for whose, step in (('released', 4), ('ours', lowest))
    }


def order(x: Arrays, parameters: dict) -> dict[str, dict]:
    """The generator's weight after its update."""
    return dict(released=dict(pixel=float(x['after'][0])))


DERIVED: dict[str, Callable[[Arrays, dict], dict[str, dict[str, Any]]]] = {
    'mad.slow_generator': slow_generator,
    'tadfkd.student_mode': student_mode,
    'deepinversion.best_images': best_images,
    'zskt.order': order,
}
