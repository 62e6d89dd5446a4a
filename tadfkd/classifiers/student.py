"""Build the student: a classifier that is trained from scratch."""
import os

from mmengine.config import Config
from torch import nn

from tadfkd.classifiers.build import build_classifier
from tadfkd.classifiers.configs import (find_classifier, lacks_class_count,
                                        with_num_classes,
                                        without_pretrained_weights)
from tadfkd.classifiers.facts import facts_of, own_input_size, own_num_channels
from tadfkd.classifiers.input_adapter import InputAdapter
from tadfkd.classifiers.outputs import OutputPart
from tadfkd.errors import UserError, size_pair

#: The default mean and std, which map [0, 255] to [-1, 1].
_HALF = [127.5]


def find_student(student: str | os.PathLike | dict,
                 num_classes: int | None) -> tuple[dict, Config | None]:
    """The model dict of a student, as :func:`build_student` builds it.

    Args:
        student: See :func:`build_student`.
        num_classes: See :func:`build_student`.

    Returns:
        The model dict, and the config that contains it; None if there is no
        config.

    Raises:
        UserError: If there is no such model, or if a named student has no
            class count.
    """
    model, config = find_classifier(student, 'model.student')
    is_named = not isinstance(student, dict)
    if is_named:
        model = without_pretrained_weights(model)
    if is_named and num_classes is None and 'factory' not in model:
        raise UserError(f'model.student names {student}, and without a '
                        'teacher its class count is unknown: set '
                        'model.num_classes')
    if num_classes is not None and (is_named or lacks_class_count(model)):
        model = with_num_classes(model, num_classes)
    return model, config


def build_student(
    student: str | os.PathLike | dict,
    num_classes: int | None,
    input_size: int | tuple[int, int] | None = None
) -> tuple[nn.Module, InputAdapter, OutputPart]:
    """Build a student and the adapter for images in [0, 1].

    A student that is given by name gets a head for ``num_classes``, no
    pretrained weights, and images of the size in its config. A grey image
    enters its three channels as three equal ones. A model dict is taken as it
    is, but a timm or Hugging Face model without a class count gets
    ``num_classes``. If the config has no normalisation, [0, 1] is mapped to
    [-1, 1]: the student is trained here, so any normalisation works.

    Args:
        student: Zoo name, config path, ``timm::``, ``transformers::`` or
            ``torchvision::`` name, ``package.module:factory``, or model dict.
        num_classes: The teacher's class count, if there is a teacher.
        input_size: Height and width that images are resized to; None takes
            the config's.

    Returns:
        The network, its adapter, and which part of its output the logits
        are.

    Raises:
        UserError: If there is no such model, or if a named student has no
            class count.
    """
    model, config = find_student(student, num_classes)
    is_named = not isinstance(student, dict)
    network = build_classifier(model, 'model.student')
    facts = facts_of(model, config, network)

    size = input_size
    if size is None and is_named and 'input_size' in facts:
        size = facts['input_size'].value
    if size is None:
        size = own_input_size(network)
    if size is not None:
        size = size_pair('model', 'student_input_size', size)
    half = _HALF * (own_num_channels(network) or 1)
    adapter = InputAdapter(
        facts['mean'].value if 'mean' in facts else half,
        facts['std'].value if 'std' in facts else half,
        facts['channel_order'].value if 'channel_order' in facts else 'rgb',
        size,
        owner='model.student.data_preprocessor',
        grey_to_rgb=is_named)
    return network, adapter, facts['output'].value \
        if 'output' in facts else None
