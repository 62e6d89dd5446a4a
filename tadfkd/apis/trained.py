"""The model of a run, with the weights of a checkpoint."""
import os
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import set_random_seed

from tadfkd.apis.config import is_distillation, make_writable
from tadfkd.checkpoints.reading import read_checkpoint
from tadfkd.checkpoints.weights import load_weights


def prepare(config: Config) -> None:
    """Make a config writable, and set its default scope and its seed, before
    its parts are built."""
    make_writable(config)
    init_default_scope(config.get('default_scope', 'mmengine'))
    # Before the Runner does the same, because the model is built before it;
    # a seed that is drawn here is the one that the Runner reports.
    randomness = dict(config.get('randomness') or {})
    randomness['seed'] = set_random_seed(**randomness)
    config.randomness = randomness


def trained_model(config: Config, checkpoint: str | os.PathLike) -> Any:
    """The model of a config with the weights of a checkpoint.

    If the config distils, the model has no teacher, and only the student and
    its average have the weights of the checkpoint for sure.

    Args:
        config: From :func:`load_config`.
        checkpoint: A checkpoint of a run of this config.

    Raises:
        UserError: If the checkpoint does not fit.
    """
    content = read_checkpoint(checkpoint)
    weights = content.get('state_dict', content)
    if not is_distillation(config):
        model = MODELS.build(config.model)
        load_weights(model, weights, f'checkpoint {checkpoint}')
        return model
    model = MODELS.build(_student_only(config.model, content.get('meta')))
    others = {
        f'{network}.*'
        for network, dot, _ in (str(name).partition('.') for name in weights)
        if dot and network not in ('student', 'average')
    }
    load_weights(
        model,
        weights,
        f'checkpoint {checkpoint}',
        allow_missing=sorted(others))
    return model


def _student_only(model: dict, meta: Any) -> dict:
    """The model without teacher, as nothing is trained: not compiled. It has
    as many classes as the checkpoint."""
    num_classes = meta.get('num_classes') if isinstance(meta, dict) else None
    return dict(
        model,
        teacher=None,
        compile=False,
        num_classes=model.get('num_classes', num_classes))
