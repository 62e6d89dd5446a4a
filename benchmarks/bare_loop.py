"""TA-DFKD as a plain loop, to measure the cost of the framework."""
import copy

import torch
from mmengine.optim import OptimWrapperDict
from torch import Tensor, nn

from benchmarks.floor import Copies
from tadfkd.algorithms import TADFKD
from tadfkd.errors import UserError
from tadfkd.structures import BNStatistics, TeacherOutput
from tadfkd.teachers.layer_inputs import read_bn_statistics
from tadfkd.utils.randomness import RandomStreams


class BareLoop(Copies):
    """The mathematics of :class:`~tadfkd.algorithms.TADFKD` without Runner,
    optimiser wrappers and hooks.

    The loop trains copies of the model's networks. It draws the same random
    numbers as the model and reaches the same weights bit by bit. It uses the
    model's selector, augmentation and losses.

    Args:
        model: An untrained model, which does not change.
        wrappers: See :class:`~benchmarks.floor.Copies`.

    Raises:
        UserError: If the model is of another algorithm, or has a class prior
            or a class-conditional generator.
    """

    def __init__(self, model: TADFKD, wrappers: OptimWrapperDict) -> None:
        if not isinstance(model, TADFKD) or model.class_prior is not None \
                or model.generator.num_classes is not None:
            raise UserError('there is a bare loop of TADFKD without class '
                            f'prior and labels only, got a config of '
                            f'{type(model).__name__}: name one of '
                            'configs/tadfkd/')
        super().__init__(model, wrappers)
        self.teacher = copy.deepcopy(model.teacher)
        self.compile_like_model(self.teacher.network)
        self.streams = RandomStreams(model.streams.seed, model.streams.rank)
        self.streams.load_state_dict(model.streams.state_dict())
        self.images_BCHW = self.logits_BK = torch.empty(0)
        self.statistics: list[BNStatistics] = []
        self.is_reading = False
        for layer in self.teacher.bn_layers:
            layer.register_forward_pre_hook(self._read)

    def student_step(self) -> Tensor:
        """Fill the queue, train the student once, and return the loss."""
        model, size = self.model, self.model.batch_size
        changes_view = model.candidates.augment is not None and \
            model.candidates.select_on == 'plain'
        with self.autocast(), torch.no_grad():
            while len(self.images_BCHW) < size:
                images_BCHW = self._generate()
                if not changes_view:
                    images_BCHW = self._augment(images_BCHW)
                if model.candidates.selector.reads_teacher:
                    logits_BK = self._ask(images_BCHW)
                    kept_M = self._select(logits_BK)
                    images_BCHW = images_BCHW[kept_M]
                    if not changes_view:
                        self.logits_BK = _joined(self.logits_BK,
                                                 logits_BK[kept_M])
                self.images_BCHW = _joined(self.images_BCHW, images_BCHW)
            images_BCHW = self.images_BCHW[:size]
            self.images_BCHW = self.images_BCHW[size:]
            if changes_view:
                images_BCHW = self._augment(images_BCHW)
            if changes_view or not model.candidates.selector.reads_teacher:
                target_BK = self._ask(images_BCHW)
            else:
                target_BK = self.logits_BK[:size]
                self.logits_BK = self.logits_BK[size:]
        with self.autocast():
            loss = model.student_loss(self._student(images_BCHW), target_BK)
        loss.backward()
        self.student_optimizer.step()
        self.student_optimizer.zero_grad()
        return loss.detach()

    def generator_step(self) -> Tensor:
        """Train the generator once and return the loss."""
        model = self.model
        self.student.eval().requires_grad_(False)
        with self.autocast():
            images_BCHW = self._generate()
            views_BCHW = self._augment(images_BCHW)
            chosen_MCHW, plain_MCHW = views_BCHW, images_BCHW
            if model.candidates.selector.reads_teacher:
                with torch.no_grad():
                    kept_M = self._select(
                        self._ask(images_BCHW if model.candidates.select_on ==
                                  'plain' else views_BCHW))
                chosen_MCHW = views_BCHW[kept_M]
                plain_MCHW = images_BCHW[kept_M]
            same_view = model.bn_on == 'augmented' or \
                model.candidates.augment is None
            self.statistics.clear()
            has_bn_term = model.bn_loss is not None
            self.is_reading = has_bn_term and same_view
            logits_MK = self._ask(chosen_MCHW)
            if has_bn_term and not same_view:
                self.is_reading = True
                self._ask(plain_MCHW)
            self.is_reading = False
            losses = [
                model.adversarial_loss.loss_weight -
                model.adversarial_loss(self._student(chosen_MCHW), logits_MK)
            ]
            if self.statistics and model.bn_loss is not None:
                losses.append(model.bn_loss(self.statistics))
            if model.image_terms_on == 'normalized':
                views_BCHW = self.teacher.input_adapter.normalize(views_BCHW)
            losses += [
                loss(views_BCHW) for loss in model.image_losses.values()
            ]
        loss = torch.stack(losses).sum()
        loss.backward()
        self.generator_optimizer.step()
        self.generator_optimizer.zero_grad()
        self.student.train().requires_grad_(True)
        return loss.detach()

    def _generate(self) -> Tensor:
        stream = self.streams.get('latents', self.model.device)
        return self.generator(
            torch.randn(
                self.model.batch_size,
                self.generator.latent_size,
                generator=stream,
                device=stream.device))

    def _augment(self, images_BCHW: Tensor) -> Tensor:
        if self.model.candidates.augment is None:
            return images_BCHW
        stream = self.streams.get('augmentation', images_BCHW.device)
        return self.model.candidates.augment(images_BCHW, stream)

    def _ask(self, images_BCHW: Tensor) -> Tensor:
        teacher = self.teacher
        # A compiled network does not call the hooks that read statistics.
        with torch.compiler.set_stance(
                'force_eager' if self.is_reading else 'default'):
            return teacher.raw_forward(teacher.input_adapter(images_BCHW))

    def _select(self, logits_BK: Tensor) -> Tensor:
        mask_B = self.model.candidates.selector.select(
            TeacherOutput(logits_BK))
        return mask_B.nonzero().squeeze(1)

    def _student(self, images_BCHW: Tensor) -> Tensor:
        return self.student(
            self.model.student_input(images_BCHW), mode='tensor')

    def _read(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if self.is_reading:
            self.statistics.append(read_bn_statistics(layer, inputs[0]))


def _joined(waiting: Tensor, new: Tensor) -> Tensor:
    return torch.cat((waiting, new)) if len(waiting) else new
