"""Teachers whose weights come from a checkpoint file."""
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from tadfkd.checkpoints.reading import read_checkpoint
from tadfkd.checkpoints.weights import class_count, find_weights, load_weights
from tadfkd.classifiers.facts import Fact, Facts
from tadfkd.errors import UserError
from tadfkd.teachers.base_teacher import BaseTeacher


class CheckpointTeacher(BaseTeacher):
    """A network, and a checkpoint with all of its weights.

    Args:
        network: The classifier, or a function that builds it for a number of
            classes; None is for the number that it has by itself.
        source_facts: What the source of the teacher says about the network,
            or a function that finds it out.
        has_weights: Whether the network already has trained weights, so that
            a checkpoint is optional.
        checkpoint: A local file or a URL, written by PyTorch or safetensors.
            It must contain exactly the network's weights.
        checkpoint_key: Which state dict to take from a file that has
            several. None prefers averaged (EMA) weights.
        allow_missing: Patterns (``'head.*'``) of keys that may be missing
            from the checkpoint or unexpected in it.
        trust_checkpoint: Whether code in the checkpoint may run. Only for
            files from people whom you trust.
        recipe: The config that trains this teacher, for the message if the
            checkpoint is missing.
        allow_random_weights: Whether ``checkpoint=None`` is accepted, for
            benchmarks and tests that need no trained teacher.
        **fields: Other arguments of :class:`BaseTeacher`.

    Raises:
        UserError: If the checkpoint is missing, is refused, or does not
            contain exactly the network's weights.
    """

    def __init__(self,
                 network: nn.Module | Callable[[int | None], nn.Module],
                 source_facts: Facts | Callable[[nn.Module], Facts],
                 has_weights: bool = False,
                 checkpoint: str | None = None,
                 checkpoint_key: str | None = None,
                 allow_missing: Sequence[str] = (),
                 trust_checkpoint: bool = False,
                 recipe: str | None = None,
                 allow_random_weights: bool = False,
                 **fields: Any) -> None:
        hint = f' (`tadfkd train {recipe}` trains one)' \
            if recipe else ''
        weights_from = 'from its source' if has_weights else 'random'
        build = None if isinstance(network, nn.Module) else network
        num_classes = fields.get('num_classes')
        built: Any = build(num_classes) if build else network
        if checkpoint is not None:
            try:
                content = read_checkpoint(
                    checkpoint,
                    trusted=trust_checkpoint,
                    opt_in='model.teacher.trust_checkpoint')
            except UserError as error:
                raise UserError(f'teacher {error}{hint}') from error
            source = f'teacher checkpoint {checkpoint}'
            weights, taken = find_weights(content,
                                          built.state_dict().keys(), source,
                                          checkpoint_key)
            count = class_count(weights, built.state_dict())
            if build and num_classes is None and count is not None:
                built = build(count)
            load_weights(built, weights, source, allow_missing,
                         'model.teacher.allow_missing')
            weights_from = f'{checkpoint}, {taken}'
        elif not has_weights and not allow_random_weights:
            raise UserError('the teacher has no checkpoint: name one by '
                            '--teacher-checkpoint, model.teacher.checkpoint '
                            f'or teacher_checkpoint{hint}')
        super().__init__(
            built,
            source_facts(built) if callable(source_facts) else source_facts,
            **fields)
        self.facts['weights'] = Fact(weights_from, 'model.teacher')
