"""What a teacher needs to be known of it, and where that is from."""
import math
from typing import Any

from torch import nn

from tadfkd.classifiers.facts import Fact, Facts
from tadfkd.classifiers.outputs import own_input_size, own_num_channels
from tadfkd.errors import UserError, require_at_least, size_pair

#: What cannot be done without, and how to say it.
_NEEDED = dict(
    input_size='the height and width of the images that it was trained on',
    mean='its normalisation, per channel in units of [0, 255]',
    std='its normalisation, per channel in units of [0, 255]')


def resolve_facts(given: dict[str, Any], found: Facts,
                  network: nn.Module) -> Facts:
    """All that is known of a teacher before it is asked.

    What the user gave wins over what was found in the teacher's config, and
    that over what the network itself tells.

    Args:
        given: Fields of ``model.teacher``; None where the user left it out.
        found: By the teacher's source.
        network: The classifier.

    Raises:
        UserError: If a needed fact remains unknown; it names the field.
    """
    facts = _told_by(network) | found | {
        name: Fact(value, 'set in model.teacher')
        for name, value in given.items() if value is not None
    }
    for name, meaning in _NEEDED.items():
        if name not in facts:
            raise UserError(
                f'{name} of the teacher {type(network).__name__} cannot be '
                f'found out: set model.teacher.{name} to {meaning}')
    facts.setdefault('channel_order', Fact('rgb', 'assumed'))
    facts.setdefault('activation', Fact('softmax', 'assumed'))
    for name in ('mean', 'std'):
        facts[name] = facts[name]._replace(
            value=_numbers(name, facts[name].value))
    if len(facts['mean'].value) != len(facts['std'].value):
        raise UserError(
            f'mean has {len(facts["mean"].value)} values and std '
            f'{len(facts["std"].value)}: set model.teacher.mean and '
            'model.teacher.std to one value a channel')
    facts.setdefault('num_channels',
                     Fact(len(facts['mean'].value), 'the length of mean'))
    facts['input_size'] = facts['input_size']._replace(
        value=size_pair('model.teacher', 'input_size',
                        facts['input_size'].value))
    for name, minimum in dict(num_channels=1, num_classes=2).items():
        if name in facts:
            require_at_least('model.teacher', name, facts[name].value, minimum)
    _check_choice(facts, 'channel_order', ('rgb', 'bgr'))
    _check_choice(facts, 'activation', ('softmax', 'sigmoid'))
    return facts


def _told_by(network: nn.Module) -> Facts:
    found = dict(
        input_size=Fact(own_input_size(network), 'the network'),
        num_channels=Fact(own_num_channels(network), 'the first convolution'))
    return {
        name: fact
        for name, fact in found.items() if fact.value is not None
    }


def _numbers(name: str, value: Any) -> list[float]:
    values = list(value) if isinstance(value, list | tuple) else [value]
    if not values or not all(
            isinstance(number, int | float) and not isinstance(number, bool)
            and math.isfinite(number) for number in values):
        raise UserError(
            f'{name} must be one finite number a channel, got {value!r}: '
            f'set model.teacher.{name}')
    return [float(number) for number in values]


def _check_choice(facts: Facts, name: str, allowed: tuple[str, ...]) -> None:
    if facts[name].value not in allowed:
        raise UserError(f'{name} must be one of {", ".join(allowed)}, got '
                        f'{facts[name].value!r}: set model.teacher.{name}')
