"""Teacher as a Lenient Expert (AAAI 2024)."""
from typing import Any, Literal

from tadfkd.algorithms.alternating import AlternatingDFKD
from tadfkd.algorithms.base import Losses
from tadfkd.algorithms.building import (build_bn_loss, build_image_losses,
                                        build_part)
from tadfkd.distributed.reductions import global_statistics
from tadfkd.errors import require_choice
from tadfkd.losses import ClassPrior, LogitsLoss
from tadfkd.registry import MODELS
from tadfkd.structures import SyntheticBatch


@MODELS.register_module()
class TADFKD(AlternatingDFKD):
    """Teacher-agnostic data-free knowledge distillation.

    With generated images x, their selected subset c = select(x), augmented
    views x' and c' as the teacher normalises them, teacher T, student S::

        generator:  1 - JS_3(S(c'), T(c')) + 10 BN(c')
                    + 6e-3 ||x'||_2 + 1.5e-5 TV(x')
        student:    L1(S(c'), T(c')), refilled to a full batch

    The last two terms are norms of a whole batch of 1024. The configs have
    weights of 0.192 and 4.8e-4 (sqrt(1024) times as much) on the mean of the
    samples' norms. This is the same where all samples have one norm, and it
    does not depend on the batch size.

    There is no class prior, no class balance and no activation term: the
    teacher does not say what to generate, it only refuses images that it does
    not recognise. arXiv 2402.12406, with
    :class:`~tadfkd.selectors.GMMSelector` as the default.
    ``examples/tadfkd_plain.py`` is the same algorithm as one plain script.

    Differs from the released code: the student is in eval mode while the
    generator trains, so a generator step leaves the student unchanged. The
    released student is in train mode there, which gives the generator another
    gradient (cosine 0.19 to ours). Teacher logits are detached in student
    steps; candidates that one student step leaves over feed the next.
    ``configs/tadfkd/*_released.py`` have the released form of JS, of the image
    terms and of the student's mode, see :class:`~tadfkd.losses.JSLoss`,
    ``image_losses`` and ``student_mode_in_generator_step``.

    Without selection (``configs/tadfkd/*_basic.py``) the released code
    detaches the teacher's logits in the divergence, so only the student's
    answer drives the images; with selection it does not.

    Args:
        adversarial_loss: Config of a :class:`~tadfkd.losses.LogitsLoss` d of
            student and teacher; the generator minimises ``weight - d``.
        bn_loss: Config of a :class:`~tadfkd.losses.StatisticsLoss` of the
            teacher's batch norms, or None. A teacher without batch norm has
            no such term.
        detach_teacher: Whether the divergence gives no gradient through the
            teacher.
        image_losses: Config of an :class:`~tadfkd.losses.ImageLoss` by name,
            each a mean over all candidates.
        class_prior: Config of a :class:`~tadfkd.losses.ClassPrior` of the
            selected images, which only the paper's ablation has.
        bn_on: Whether the batch-norm statistics are those of the selected
            ``'augmented'`` views, or of the ``'plain'`` images, which costs
            one more forward of the teacher.
        image_terms_on: Whether the image losses see images as the teacher
            normalises them (``'normalized'``) or in [0, 1] (``'unit'``).
        selector: See :class:`~tadfkd.algorithms.base.BaseDFKD`.
        **alternating: See :class:`AlternatingDFKD`.
    """

    def __init__(self,
                 adversarial_loss: dict,
                 bn_loss: dict | None = None,
                 detach_teacher: bool = False,
                 image_losses: dict[str, dict] = {},
                 class_prior: dict | None = None,
                 bn_on: Literal['augmented', 'plain'] = 'augmented',
                 image_terms_on: Literal['normalized', 'unit'] = 'normalized',
                 selector: dict = dict(type='GMMSelector'),
                 **alternating: Any) -> None:
        super().__init__(selector=selector, **alternating)
        require_choice('model', 'bn_on', bn_on, ('augmented', 'plain'))
        require_choice('model', 'image_terms_on', image_terms_on,
                       ('normalized', 'unit'))
        self.adversarial_loss = build_part('adversarial_loss',
                                           adversarial_loss, LogitsLoss)
        self.bn_loss = build_bn_loss(bn_loss, self.teacher, self.generator)
        self.class_prior = build_part('class_prior', class_prior,
                                      ClassPrior) if class_prior else None
        self.image_losses = build_image_losses(image_losses)
        self.detach_teacher = detach_teacher
        self.bn_on = bn_on
        self.image_terms_on = image_terms_on

    def generator_losses(self, selected: SyntheticBatch) -> Losses:
        """Adversarial and batch-norm terms."""
        prior = self.class_prior
        # Without augmentation the two views are one.
        same_view = (
            self.bn_on == 'augmented' or selected.augmented_BCHW is None)
        has_bn_term = self.bn_loss is not None
        output = self.teacher(
            selected.views_BCHW,
            with_bn=has_bn_term and same_view,
            with_features=prior is not None and prior.reads_features)
        teacher_BK = output.logits_BK.detach() if self.detach_teacher \
            else output.logits_BK
        divergence = self.adversarial_loss(
            self.student_logits(selected.views_BCHW), teacher_BK)
        losses = dict(adversarial=self.adversarial_loss.loss_weight -
                      divergence)
        if self.bn_loss is not None:
            statistics = output.bn_statistics if same_view else self.teacher(
                selected.images_BCHW, with_bn=True).bn_statistics
            losses['bn'] = self.bn_loss(
                global_statistics(statistics, len(selected)))
        if prior is not None:
            losses |= prior(output)
        return losses

    def candidate_losses(self, candidates: SyntheticBatch) -> Losses:
        """Image terms."""
        images_BCHW = candidates.views_BCHW
        if self.image_terms_on == 'normalized':
            # At their own size, whatever the teacher resizes them to.
            images_BCHW = self.teacher.input_adapter.normalize(images_BCHW)
        return {
            name: loss(images_BCHW)
            for name, loss in self.image_losses.items()
        }
