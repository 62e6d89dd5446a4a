"""From the output of any classifier to one tensor of logits."""
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from tadfkd.errors import UserError

#: Which part of an output the logits are: an index, a key, or ``'sum'``.
OutputPart: TypeAlias = int | str | None


def classifier_logits(network: Callable,
                      inputs_BCHW: Tensor,
                      part: OutputPart = None) -> Tensor:
    """The (B, K) logits of an mmpretrain classifier.

    Args:
        network: The classifier, or a function with the same arguments.
        inputs_BCHW: Normalised images.
        part: See :func:`as_logits`.

    Raises:
        UserError: If the network returns anything else.
    """
    return as_logits(
        network(inputs_BCHW, mode='tensor'), inputs_BCHW.shape[0],
        type(network).__name__, part)


def as_logits(output: Any, batch_size: int, name: str,
              part: OutputPart) -> Tensor:
    """One (B, K) tensor of logits from the output of a network.

    Accepted are a tensor, whose trailing dimensions of size 1 are removed; a
    list or dictionary with one entry; and an output with ``logits``, as
    Hugging Face's networks return it.

    Args:
        output: The output of the network.
        batch_size: B, which is checked.
        name: The name of the network, for the message.
        part: An index or key of the output, or ``'sum'`` to add its parts.
            None accepts an output without a choice.

    Raises:
        UserError: If the result is not such a tensor.
    """
    logits = _part_of(output, name, part)
    if isinstance(logits, Tensor) and logits.ndim == 1:
        # One logit per image, for two classes.
        logits = logits[:, None]
    if isinstance(logits, Tensor) and logits.ndim > 2:
        logits = logits.flatten(1) if logits[0, 0].numel() == 1 else logits
    # A length is a fixed number, and torch.export traces a batch of any size.
    if not isinstance(logits, Tensor) or logits.ndim != 2 or \
            logits.shape[0] != batch_size or not logits.is_floating_point():
        raise UserError(f'{name} must return one (batch, classes) tensor of '
                        f'logits, got {_shown(logits)}: use a model with a '
                        'single classification head, or set '
                        'model.teacher.output to the index or key of its '
                        "logits, or to 'sum'")
    return logits


def _part_of(output: Any, name: str, part: OutputPart) -> Any:
    # A tensor of two dimensions is the logits; with more it may be a stack.
    is_logits = isinstance(output, Tensor) and output.ndim <= 2
    if part == 'sum':
        values = output.values() if isinstance(output, Mapping) else output
        if is_logits:
            return output
        parts = [*values] if isinstance(values, Iterable) else []
        if not _same_shape(parts):
            raise UserError(f'{name} returns {_shown(output)}, which cannot '
                            'be added: change model.teacher.output')
        return torch.stack(parts).sum(0)
    if part is not None:
        try:
            if is_logits or isinstance(output, Tensor) and isinstance(
                    part, str):
                raise KeyError(part)
            return output[part]
        except (KeyError, IndexError, TypeError) as error:
            raise UserError(
                f'{name} returns {_shown(output)}, which has no '
                f'part {part!r}: change model.teacher.output') from error
    if isinstance(output, Mapping):
        default = next(iter(output.values())) if len(output) == 1 else output
        return output.get('logits', default)
    is_single = isinstance(output, Sequence) and len(output) == 1
    return output[0] if is_single else output


def _same_shape(values: list) -> bool:
    """Whether the values are at least one tensor, all of one shape."""
    return bool(values) and all(
        isinstance(value, Tensor) and value.shape == values[0].shape
        for value in values)


def _shown(output: Any) -> str:
    if isinstance(output, Tensor):
        kind = str(output.dtype).removeprefix('torch.')
        return f'a tensor of {tuple(output.shape)}, {kind}'
    if isinstance(output, Mapping):
        parts = ', '.join(f'{key!r}: {_shown(value)}'
                          for key, value in output.items())
        return f'{type(output).__name__} of {{{parts}}}'
    if isinstance(output, list | tuple):
        parts = ', '.join(_shown(value) for value in output)
        return f'{type(output).__name__} of ({parts})'
    return type(output).__name__


def with_predictions(
        logits_BK: Tensor,
        data_samples: list | None,
        activation: Literal['softmax', 'sigmoid'] = 'softmax') -> list:
    """Data samples (new ones if None) with ``pred_score``, ``pred_label``.

    Args:
        logits_BK: Of any precision.
        data_samples: One mmpretrain ``DataSample`` per image, or None.
        activation: With ``'sigmoid'`` each class is judged by itself, so that
            an image has all labels whose score is at least 0.5.
    """
    from mmpretrain.structures import DataSample
    is_single = activation == 'softmax'
    scores_BK = logits_BK.float()
    scores_BK = scores_BK.softmax(1) if is_single else scores_BK.sigmoid()
    if data_samples is None:
        data_samples = [DataSample() for _ in scores_BK]
    for sample, scores_K in zip(data_samples, scores_BK):
        labels = scores_K.argmax() if is_single \
            else (scores_K >= 0.5).nonzero().flatten()
        sample.set_pred_score(scores_K).set_pred_label(labels)
    return data_samples
