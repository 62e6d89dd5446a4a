"""Classifiers of whatever kind: building, asking, inspecting them."""
import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from tadfkd.classifiers.configs import wrapped_library
from tadfkd.errors import UserError
from tadfkd.utils.library_errors import registry_errors_as_user_errors

#: An index, a key, or ``'sum'``: which part of an output the logits are.
OutputPart: TypeAlias = int | str | None


def build_classifier(model: dict, owner: str = 'the classifier') -> nn.Module:
    """Build an mmpretrain classifier from its dict, whatever the scope.

    Args:
        model: The dict.
        owner: Its config path, for messages.

    Raises:
        UserError: If it is one of another library, which is not installed or
            does not know it.
    """
    from mmpretrain.registry import MODELS

    # A copy, because mmpretrain's classifiers write into their config.
    config = dict(copy.deepcopy(model), _scope_='mmpretrain')
    library = wrapped_library(model)
    if library == 'transformers':
        # Or it would ask whether to run the code of a folder.
        config['trust_remote_code'] = False
    try:
        with registry_errors_as_user_errors():
            return MODELS.build(config)
    except UserError:
        raise
    except Exception as error:
        missing = library or getattr(error, 'name', None)
        if isinstance(error,
                      ImportError) and missing in ('timm', 'transformers'):
            raise UserError(f'{model["type"]} needs {missing}: run `pip '
                            f'install "tadfkd[{missing}]"`') from error
        # The dict is anybody's, and so is what builds it.
        reason = str(error).strip().partition('\n')[0]
        name = f'the {library} model {model.get("model_name")!r}' \
            if library else owner
        raise UserError(f'{name} cannot be built ({type(error).__name__}: '
                        f'{reason}): change its name or its dict') from error


def classifier_logits(network: Callable,
                      inputs_BCHW: Tensor,
                      part: OutputPart = None) -> Tensor:
    """The (B, K) logits of an mmpretrain classifier.

    Args:
        network: The classifier, or a function that is called like one.
        inputs_BCHW: Adapted to it.
        part: See :func:`as_logits`.

    Raises:
        UserError: If the network's output is anything else.
    """
    return as_logits(
        network(inputs_BCHW, mode='tensor'), len(inputs_BCHW),
        type(network).__name__, part)


def as_logits(output: Any, batch_size: int, name: str,
              part: OutputPart) -> Tensor:
    """One (B, K) tensor of logits from what a network returned.

    A tensor passes, with trailing dimensions of size 1 taken off; so does
    what is alone in a list or a dictionary, and the ``logits`` of an output
    that has some, as those of Hugging Face do.

    Args:
        output: What the network returned.
        batch_size: B, to check.
        name: Of the network, for the message.
        part: An index or key of the output, or ``'sum'`` to add its parts;
            None takes what is there if there is no choice.

    Raises:
        UserError: If that gives no such tensor.
    """
    logits = _part_of(output, name, part)
    if isinstance(logits, Tensor) and logits.ndim > 2:
        logits = logits.flatten(1) if logits[0, 0].numel() == 1 else logits
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(
            logits) != batch_size or not logits.is_floating_point():
        raise UserError(f'{name} must return one (batch, classes) tensor of '
                        f'logits, got {_shown(logits)}: use a model with a '
                        'single classification head, or set '
                        'model.teacher.output to the index or key of its '
                        "logits, or to 'sum'")
    return logits


def _part_of(output: Any, name: str, part: OutputPart) -> Any:
    # A tensor of two dimensions is the logits; one of more may be a stack.
    is_one = isinstance(output, Tensor) and output.ndim <= 2
    if part == 'sum':
        values = output.values() if isinstance(output, Mapping) else output
        if is_one:
            return output
        parts = [*values] if isinstance(values, Iterable) else []
        if not _alike(parts):
            raise UserError(f'{name} returns {_shown(output)}, which cannot '
                            'be added: change model.teacher.output')
        return torch.stack(parts).sum(0)
    if part is not None:
        try:
            if is_one or isinstance(output, Tensor) and isinstance(part, str):
                raise KeyError(part)
            return output[part]
        except (KeyError, IndexError, TypeError) as error:
            raise UserError(
                f'{name} returns {_shown(output)}, which has no '
                f'part {part!r}: change model.teacher.output') from error
    if isinstance(output, Mapping):
        alone = next(iter(output.values())) if len(output) == 1 else output
        return output.get('logits', alone)
    is_alone = isinstance(output, Sequence) and len(output) == 1
    return output[0] if is_alone else output


def _alike(values: list) -> bool:
    """Whether they are tensors of one shape, at least one."""
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


def own_input_size(network: nn.Module) -> tuple[int, int] | None:
    """Height and width that a network was built for, where it says so.

    Vision transformers keep it under one of a few names, in the network or
    in the layer that cuts the image into patches.
    """
    for module in network.modules():
        for name in ('img_size', 'image_size'):
            size = getattr(module, name, None)
            if isinstance(size, int):
                return size, size
            if isinstance(size, Sequence) and len(size) == 2:
                return int(size[0]), int(size[1])
    return None


def own_num_channels(network: nn.Module) -> int | None:
    """Image channels of the first convolution, if there is one."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            return module.in_channels
    return None


def with_predictions(logits_BK: Tensor, data_samples: list | None) -> list:
    """Data samples with ``pred_score`` and ``pred_label``, made if None."""
    from mmpretrain.structures import DataSample
    scores_BK = logits_BK.float().softmax(1)
    if data_samples is None:
        data_samples = [DataSample() for _ in scores_BK]
    for sample, scores_K, label in zip(data_samples, scores_BK,
                                       scores_BK.argmax(1)):
        sample.set_pred_score(scores_K).set_pred_label(label)
    return data_samples
