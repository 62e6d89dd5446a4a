"""Teacher as a Lenient Expert (AAAI 2024)."""
from typing import Any, Literal

from torch import nn

from tadfkd.algorithms.base import BaseDFKD, Losses
from tadfkd.algorithms.building import (build_class_prior, build_image_loss,
                                        build_logits_loss)
from tadfkd.errors import UserError
from tadfkd.registry import MODELS
from tadfkd.structures import SyntheticBatch

Loss = dict[str, Any]


@MODELS.register_module()
class TADFKD(BaseDFKD):
    """Teacher-agnostic data-free knowledge distillation.

    With generated images x, their selected subset c = select(x), augmented
    views x' and c' as the teacher normalises them, teacher T, student S::

        generator:  1 - JS_3(S(c'), T(c')) + 10 BN(c')
                    + 6e-3 ||x'||_2 + 1.5e-5 TV(x')
        student:    L1(S(c'), T(c')), refilled to a full batch

    where the last two are norms of a whole batch of 1024; the defaults here
    are 0.192 and 4.8e-4 (sqrt(1024) times as much) on the mean of the
    samples' norms, which acts about the same (exactly, where all samples have
    one norm) and does not depend on the batch size.

    There is no class prior, no class balance and no activation term: the
    teacher does not say what to generate, it only refuses what it does not
    recognise. arXiv 2402.12406, with
    :class:`~tadfkd.selectors.GMMSelector` as the default.

    Differs from the released code: the student is in eval mode while the
    generator trains, so that a generator step leaves it unchanged; teacher
    logits are detached; candidates left over by one student step feed the
    next. The released form of JS and of the image terms is a matter of
    config, see :class:`~tadfkd.losses.JSLoss` and ``image_terms_on``.

    Args:
        student_loss: Config of the student's loss on logits.
        adversarial_loss: Config of a divergence d of student and teacher;
            the generator minimises ``weight - d`` (with weight 1: 1 - d).
        bn_loss: Config of the batch-norm statistics loss.
        image_losses: Configs of the losses of all candidates' images.
        class_prior: Config of a :class:`~tadfkd.losses.ClassPrior` of the
            selected images, which the paper does without: for its ablation.
        bn_on: Whether the batch-norm statistics are those of the selected
            ``'augmented'`` views, or of the ``'plain'`` images, which costs
            one more pass through the teacher.
        image_terms_on: Whether the image losses see images as the teacher
            normalises them (``'normalized'``) or in [0, 1] (``'unit'``).
        selector: See :class:`BaseDFKD`.
        **base: Everything else of :class:`BaseDFKD`.
    """

    def __init__(self,
                 student_loss: Loss = dict(type='L1Loss'),
                 adversarial_loss: Loss = dict(type='JSLoss', temperature=3.0),
                 bn_loss: Loss = dict(
                     type='BNStatisticsLoss', loss_weight=10.0),
                 image_losses: dict[str, Loss] = dict(
                     l2=dict(type='ImageL2Loss', loss_weight=0.192),
                     tv=dict(type='TotalVariationLoss', loss_weight=4.8e-4)),
                 class_prior: dict | None = None,
                 bn_on: Literal['augmented', 'plain'] = 'augmented',
                 image_terms_on: Literal['normalized', 'unit'] = 'normalized',
                 selector: dict = dict(type='GMMSelector'),
                 **base: Any) -> None:
        super().__init__(
            student_loss=student_loss,
            bn_loss=bn_loss,
            selector=selector,
            **base)
        if bn_on not in ('augmented', 'plain'):
            raise UserError("bn_on must be 'augmented' or 'plain', got "
                            f'{bn_on!r}: set model.bn_on')
        if image_terms_on not in ('unit', 'normalized'):
            raise UserError("image_terms_on must be 'unit' or 'normalized', "
                            f'got {image_terms_on!r}: set '
                            'model.image_terms_on')
        if not isinstance(image_losses, dict):
            raise UserError('image_losses must be a dictionary of names and '
                            f'losses, got {image_losses!r}: set '
                            'model.image_losses')
        self.adversarial_loss = build_logits_loss(self, 'adversarial_loss',
                                                  adversarial_loss)
        self.class_prior = build_class_prior(
            self, class_prior) if class_prior else None
        self.image_losses = nn.ModuleDict({
            name:
            build_image_loss(self, f'image_losses.{name}', loss)
            for name, loss in image_losses.items()
        })
        self.bn_on = bn_on
        self.image_terms_on = image_terms_on

    def generator_losses(self, candidates: SyntheticBatch,
                         selected: SyntheticBatch) -> Losses:
        """Adversarial and batch-norm terms."""
        teacher = self.teacher
        # Without augmentation the two views are one.
        same_view = (
            self.bn_on == 'augmented' or selected.augmented_BCHW is None)
        prior = self.class_prior
        has_bn_term = self.bn_loss is not None
        output = teacher(
            selected.views_BCHW,
            with_bn=has_bn_term and same_view,
            with_features=prior is not None and prior.reads_features)
        statistics = output.bn_statistics
        if has_bn_term and not same_view:
            statistics = teacher(
                selected.images_BCHW, with_bn=True).bn_statistics
        divergence = self.adversarial_loss(
            self.student_logits(selected.views_BCHW), output.logits_BK)
        return dict(
            adversarial=self.adversarial_loss.loss_weight - divergence,
            **self.bn_terms(statistics, len(selected)),
            **(prior(output) if prior is not None else {}))

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
