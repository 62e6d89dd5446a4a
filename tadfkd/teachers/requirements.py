"""The facts that a teacher needs, and where each fact comes from."""
from typing import Any

from torch import nn

from tadfkd.classifiers.facts import (Fact, Facts, own_input_size,
                                      own_num_channels)
from tadfkd.errors import (UserError, require_at_least, require_choice,
                           size_pair)

#: Facts without a default, and what the user has to set.
_NEEDED = dict(
    input_size='the height and width of the images that it was trained on',
    mean='its normalisation, per channel in units of [0, 255]',
    std='its normalisation, per channel in units of [0, 255]')


def resolve_facts(given: dict[str, Any], source_facts: Facts,
                  network: nn.Module) -> Facts:
    """All facts of a teacher that are known without a forward pass.

    Fields that the user set win over the facts of the source, and those win
    over what the network itself says.

    Args:
        given: Fields of ``model.teacher``; None where the user left it out.
        source_facts: Facts from the source of the teacher, such as a config.
        network: The classifier.

    Raises:
        UserError: If a needed fact is unknown, or a value is not allowed; the
            message names the field.
    """
    facts = _network_facts(network) | source_facts | {
        name: Fact(value, 'set in model.teacher')
        for name, value in given.items() if value is not None
    }
    for name, meaning in _NEEDED.items():
        if name not in facts:
            raise UserError(
                f'{name} of the teacher {type(network).__name__} is unknown: '
                f'set model.teacher.{name} to {meaning}')
    facts.setdefault('channel_order', Fact('rgb', 'assumed'))
    facts.setdefault('activation', Fact('softmax', 'assumed'))
    for name in ('mean', 'std'):
        facts[name] = facts[name]._replace(value=[*facts[name].value])
    if len(facts['mean'].value) != len(facts['std'].value):
        raise UserError(
            f'mean has {len(facts["mean"].value)} values and std '
            f'{len(facts["std"].value)}: set model.teacher.mean and '
            'model.teacher.std to one value per channel')
    facts.setdefault('num_channels',
                     Fact(len(facts['mean'].value), 'the length of mean'))
    facts['input_size'] = facts['input_size']._replace(
        value=size_pair('model.teacher', 'input_size',
                        facts['input_size'].value))
    for name, minimum in dict(num_channels=1, num_classes=2).items():
        if name in facts:
            require_at_least('model.teacher', name, facts[name].value, minimum)
    for name, allowed in dict(
            channel_order=('rgb', 'bgr'),
            activation=('softmax', 'sigmoid')).items():
        require_choice('model.teacher', name, facts[name].value, allowed)
    return facts


def _network_facts(network: nn.Module) -> Facts:
    facts = dict(
        input_size=Fact(own_input_size(network), 'the network'),
        num_channels=Fact(own_num_channels(network), 'the first convolution'))
    return {
        name: fact
        for name, fact in facts.items() if fact.value is not None
    }
