"""Feature maps that teacher and student have at the same resolutions."""
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from tadfkd.algorithms.base import BaseDFKD
from tadfkd.algorithms.building import blank_images
from tadfkd.errors import UserError
from tadfkd.networks.capture import capture
from tadfkd.networks.feature_maps import (find_classification_layer,
                                          find_map_layers)
from tadfkd.networks.freezing import frozen
from tadfkd.structures import TeacherOutput


@dataclass(frozen=True)
class StageMaps:
    """The layers whose inputs are the maps, from high to low resolution."""

    teacher: tuple[nn.Module, ...] = ()
    student: tuple[nn.Module, ...] = ()

    @classmethod
    def of(cls, model: BaseDFKD, owner: str) -> 'StageMaps':
        """Try blank images on both networks of a model.

        Args:
            model: One without teacher, for evaluation, has no maps.
            owner: The config path of what needs the maps, for the message.

        Raises:
            UserError: If there is no resolution that both have.
        """
        if model.teacher is None:
            return cls()
        images_BCHW = blank_images(model.generator)
        teacher = find_map_layers(
            model.teacher.network, lambda: model.teacher.logits(
                model.teacher.input_adapter(images_BCHW)))
        with frozen(model.student):
            student = find_map_layers(
                model.student, lambda: model.student_logits(images_BCHW))
        shared = [size for size in teacher if size in student]
        if not shared:
            raise UserError(
                f'{owner} compares feature maps, but the teacher has maps of '
                f'{list(teacher) or "no size"} and the student of '
                f'{list(student) or "no size"}: choose networks with a size '
                'in common')
        return cls(
            tuple(teacher[size] for size in shared),
            tuple(student[size] for size in shared))

    def of_student(self, model: BaseDFKD,
                   images_BCHW: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The student's logits for images in [0, 1], and its maps."""
        with capture(self.student, lambda _, inputs: inputs) as maps:
            logits_BK = model.student_logits(images_BCHW)
        return logits_BK, maps

    def of_teacher(self, model: BaseDFKD,
                   images_BCHW: Tensor) -> TeacherOutput:
        """The teacher's answer without graph, with maps and their gradients
        of its predicted class.

        Args:
            model: One with a teacher.
            images_BCHW: Float in [0, 1].
        """
        with torch.enable_grad():
            # The maps have a graph only if something before them has one.
            output = model.teacher(
                images_BCHW.detach().requires_grad_(), maps_at=self.teacher)
            gradients = class_gradients(output.logits_BK, output.maps,
                                        output.logits_BK.argmax(1))
        return replace(output.detach(), map_gradients=gradients)

    def class_layers(self, model: BaseDFKD) -> tuple[Any, Any]:
        """The linear layers of teacher and student whose rows weight the
        channels of their last maps.

        Raises:
            UserError: If a network has no such layer.
        """
        images_BCHW = blank_images(model.generator)
        teacher_layer: Any = model.teacher.classification_layer
        with frozen(model.student):
            student_layer: Any = find_classification_layer(
                model.student, lambda: model.student_logits(images_BCHW),
                model.num_classes)
            _, student_maps = self.of_student(model, images_BCHW)
        teacher_maps = model.teacher(images_BCHW, maps_at=self.teacher).maps
        for name, layer, maps in (('teacher', teacher_layer, teacher_maps),
                                  ('student', student_layer, student_maps)):
            if layer is None or layer.weight.flatten(
                    1).shape[1] != maps[-1].shape[1]:
                raise UserError(
                    f'the {name} has no linear layer right after the mean of '
                    'its last feature map, so it has no class activation '
                    f'maps: choose another model.{name} or algorithm')
        return teacher_layer, student_layer


def class_gradients(logits_BK: Tensor, maps: Sequence[Tensor],
                    labels_B: Tensor) -> tuple[Tensor, ...]:
    """The gradient of each sample's logit of its label, without graph.

    Args:
        logits_BK: With their graph, which is kept.
        maps: What the logits were computed from; the gradient of a map that
            they do not depend on is 0.
        labels_B: Class ids.
    """
    chosen_B = logits_BK.gather(1, labels_B[:, None])
    return torch.autograd.grad(
        chosen_B.sum(),
        tuple(maps),
        retain_graph=True,
        allow_unused=True,
        materialize_grads=True)
