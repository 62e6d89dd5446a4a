"""What every data-free distillation algorithm shares."""
import logging
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, cast

import torch
from mmengine.dist import all_reduce, get_rank
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor, nn
from torch.func import functional_call

from tadfkd.algorithms.building import (blank_images, build_augmentation,
                                        build_part, build_procedural,
                                        require_fitting_networks,
                                        share_normalization)
from tadfkd.algorithms.calibration import CalibratedWeights
from tadfkd.algorithms.candidates import CandidateSource
from tadfkd.algorithms.state_dicts import drop_teacher, ignore_missing_teacher
from tadfkd.classifiers.facts import Fact, facts_from_head
from tadfkd.classifiers.outputs import classifier_logits, with_predictions
from tadfkd.classifiers.student import build_student
from tadfkd.distributed.reductions import global_means
from tadfkd.distributed.wrapper import unwrapped
from tadfkd.errors import (UserError, require_at_least, require_choice,
                           require_share)
from tadfkd.generators import BaseGenerator
from tadfkd.losses import LogitsLoss
from tadfkd.networks.averaging import AveragedNetwork
from tadfkd.networks.capture import has_running_statistics
from tadfkd.networks.compiling import compile_in_place
from tadfkd.networks.feature_maps import find_classification_layer
from tadfkd.networks.freezing import frozen
from tadfkd.networks.memory_format import plain_order, use_channels_last
from tadfkd.networks.padding import padded, uses_batch_statistics
from tadfkd.networks.small_maps import use_small_map_gradients
from tadfkd.registry import SELECTORS
from tadfkd.selectors import BaseSelector
from tadfkd.structures import Counters, TeacherOutput
from tadfkd.teachers import BaseTeacher
from tadfkd.utils.precision import at_least_float32
from tadfkd.utils.randomness import RandomStreams

Losses = dict[str, Tensor]


def prefixed(network: str, losses: Losses) -> Losses:
    """The losses of a step under the names that the log has."""
    return {f'{network}_{name}': value for name, value in losses.items()}


def summed(losses: Losses) -> Tensor:
    """The scalar that a step minimises: the sum of all terms."""
    return torch.stack(list(losses.values())).sum()


def with_total(losses: Losses, total: Tensor) -> Losses:
    """The terms and their sum without graph, as a step returns them."""
    # The name is "total", because mmengine sums and smooths a "loss".
    losses = losses | dict(total=total)
    return {name: value.detach() for name, value in losses.items()}


def _multiply(layers: Iterable[nn.Linear | None], factor: float) -> None:
    for layer in layers:
        if layer is not None:
            layer.weight.mul_(factor)
            if layer.bias is not None:
                layer.bias.mul_(factor)


def _note_loading(model: Any, *_: object) -> None:
    model._is_new = False


class BaseDFKD(BaseModel):
    """A student learns from a frozen teacher on generated images.

    A schedule extends this class by ``train_step``, the order of the steps of
    an iteration: :class:`~tadfkd.algorithms.alternating.AlternatingDFKD`,
    :class:`~tadfkd.algorithms.joint.JointDFKD` and
    :class:`~tadfkd.algorithms.inversion.InversionDFKD`. An algorithm extends
    a schedule by the losses of its paper. Each step trains one network: its
    losses are computed within :meth:`train_only`, and :meth:`update` minimises
    them.

    From outside, the model is the student: ``forward`` and the evaluation
    loops call the student alone, and the state dict leaves out the frozen
    teacher.

    Args:
        teacher: Config of a :class:`~tadfkd.teachers.BaseTeacher`, or one
            that is built already. None is for evaluation of the student.
        student: The student classifier: a name in mmpretrain's zoo, a config
            path, a ``timm::``, ``transformers::`` or ``torchvision::`` name,
            ``package.module:factory``, or a model dict. A student that a
            library names gets a head for the teacher's classes.
        generator: Config of a :class:`~tadfkd.generators.BaseGenerator`.
        batch_size: Images per step and process, >= 2.
        student_loss: Config of the student's
            :class:`~tadfkd.losses.LogitsLoss`.
        selector: Config of a :class:`~tadfkd.selectors.BaseSelector`.
        augment: Config of an augmentation of the images that enter the
            losses, or None.
        data_preprocessor: Maps evaluation images to [0, 1], RGB.
        student_input_size: Height and width to which the student's images
            are resized. None takes the size in the config that ``student``
            names, and leaves images as they are for a model dict.
        num_classes: Class count of a named student without a teacher. With a
            teacher, its class count is taken.
        student_mode_in_generator_step: ``'eval'``, so that a generator step
            leaves the student unchanged, or ``'train'``: its batch norms then
            use and update the statistics of the batch.
        channels_last: Whether convolutions keep the channels of a pixel
            together in memory, which is faster on many processors and GPUs.
            Results change by rounding.
        lean_teacher: Precision of the weights of a copy of the teacher with
            folded batch norms, which answers where nothing but logits is
            asked for, or None for no copy. ``'bfloat16'`` is for forward
            passes in bfloat16. Results change by rounding.
        small_map_gradients: Whether convolutions on small maps get their
            gradients by a matrix product, where passes are in bfloat16 on a
            CPU. Results change by rounding.
        pad_to: The teacher, and a student in eval mode, see a multiple of so
            many images, >= 1. Blank images are added where a step selected
            another number, and their answers are dropped. On a CPU, each
            number of images that is new takes some time.
        compile: Whether student, generator and teacher go through
            ``torch.compile``. A dict holds its arguments. The first steps
            then take minutes, and results change by rounding.
        procedural: Arguments of the
            :class:`~tadfkd.memory.ProceduralImages` that the student learns
            from beside the generated ones, or None.
        loss_shares: By name of a loss of the generator, its share of the
            gradient, or None for the weights of the losses as they are. See
            :class:`~tadfkd.algorithms.calibration.CalibratedWeights`; needs
            ``procedural``.
        scale_targets: Whether the student learns the teacher's logits less
            their mean and divided by their standard deviation. At the end of
            the run the last layer takes the deviation in. Needs
            ``procedural``.
        average_share: The student's moving average reaches back over this
            share of the run, in [0, 1]. It is what is evaluated, and at the
            end it is the student. 0 is for no average.
        frozen_norm_share: Share of the run at whose end the student's batch
            norm keeps its statistics, in [0, 1].

    Raises:
        UserError: If a number is out of range, a network cannot take the
            generated images, or the class counts differ.
    """

    #: Names of the networks that training changes; each has its optimiser.
    trained_networks: tuple[str, ...] = ('student', 'generator')
    #: Whether losses may be scaled, as float16 requires. An algorithm that
    #: combines gradients outside of their optimiser wrapper cannot allow it.
    scalable_losses = True
    #: Procedural images at which the weights of losses are found.
    CALIBRATION_SIZE = 256
    #: Student steps per iteration.
    num_student_steps = 1
    #: Whether a student's batch can hold procedural images.
    takes_procedural = False

    def __init__(self,
                 teacher: dict | BaseTeacher | None,
                 student: str | dict,
                 generator: dict,
                 batch_size: int,
                 student_loss: dict,
                 selector: dict = dict(type='SelectAll'),
                 augment: dict | None = None,
                 data_preprocessor: dict | None = None,
                 student_input_size: int | tuple[int, int] | None = None,
                 num_classes: int | None = None,
                 student_mode_in_generator_step: Literal['eval',
                                                         'train'] = 'eval',
                 channels_last: bool = False,
                 lean_teacher: Literal['float32', 'bfloat16'] | None = None,
                 small_map_gradients: bool = False,
                 pad_to: int = 1,
                 compile: bool | dict = False,
                 procedural: dict | None = None,
                 loss_shares: dict[str, float] | None = None,
                 scale_targets: bool = False,
                 average_share: float = 0.0,
                 frozen_norm_share: float = 0.0) -> None:
        super().__init__(data_preprocessor)
        require_choice('model', 'student_mode_in_generator_step',
                       student_mode_in_generator_step, ('eval', 'train'))
        self.student_mode_in_generator_step = student_mode_in_generator_step
        require_at_least('model', 'pad_to', pad_to, 1)
        self.pad_to = pad_to
        # Student steps train batch norm, which needs two samples.
        require_at_least('model', 'batch_size', batch_size, 2)
        self.batch_size = batch_size
        self.generator = build_part('generator', generator, BaseGenerator)
        if isinstance(teacher, dict):
            teacher = build_part('teacher', teacher, BaseTeacher)
        # Every training step has a teacher; only evaluation does without.
        self.teacher = cast(BaseTeacher, teacher)
        if self.teacher is not None:
            num_classes = self.teacher.num_classes
        self.student, self.student_input, self._student_part = build_student(
            student, num_classes, student_input_size)
        self.scale_targets = scale_targets
        if scale_targets:
            self.logit_scale: Tensor
            self.register_buffer('logit_scale', torch.ones(()))
        self.num_classes = require_fitting_networks(self.teacher, self.student,
                                                    self.generator,
                                                    self.student_logits)
        share_normalization(self.teacher, self.generator)
        require_choice('model', 'lean_teacher', lean_teacher,
                       (None, 'float32', 'bfloat16'))
        if self.teacher is not None:
            # One that is built already may have a copy.
            self.teacher.lean = None
            if lean_teacher is not None:
                self.teacher.make_lean(getattr(torch, lean_teacher))
            self.teacher.pad_batches(pad_to)
        # Why a layout that was asked for was not taken, or None.
        self.unsafe_channels_last: str | None = None
        if channels_last:
            self.unsafe_channels_last = use_channels_last(
                student=self.student,
                generator=self.generator,
                teacher=self.teacher)
        if small_map_gradients:
            use_small_map_gradients(self.student, self.generator)
        self.compiled_with = compile
        if compile:
            compile_in_place(compile, self.student, self.generator,
                             getattr(self.teacher, 'network', None),
                             getattr(self.teacher, 'lean', None))
        self.student_loss = build_part('student_loss', student_loss,
                                       LogitsLoss)
        # The seed that the Runner, or the user, gave to torch.
        self.streams = RandomStreams(torch.initial_seed(), get_rank())
        self.counters = Counters()
        self.augment = build_augmentation('augment', augment, self.generator)
        self.candidates = CandidateSource(
            self.generator, self.teacher, self.num_classes,
            build_part('selector', selector, BaseSelector, SELECTORS),
            self.augment, self.streams, self.counters)
        for name, share in dict(
                average_share=average_share,
                frozen_norm_share=frozen_norm_share).items():
            require_share('model', name, share)
        if procedural is not None and not self.takes_procedural:
            raise UserError(
                f'{type(self).__name__} cannot show its student procedural '
                'images: leave model.procedural out, and loss_shares and '
                'scale_targets, which need it')
        if procedural is None and (loss_shares or scale_targets):
            raise UserError('loss_shares and scale_targets are found on '
                            'procedural images: set model.procedural')
        self.procedural = build_procedural(procedural, self.generator,
                                           self.teacher)
        self.loss_weights = CalibratedWeights(
            loss_shares) if loss_shares else None
        self.average_share = average_share
        self.average = AveragedNetwork(
            self.student) if average_share > 0 else None
        self.frozen_norm_share = frozen_norm_share
        self.num_iterations: int | None = None
        self._is_new = True
        self.register_load_state_dict_post_hook(_note_loading)
        self._register_state_dict_hook(drop_teacher)
        self.register_load_state_dict_post_hook(ignore_missing_teacher)

    def init_weights(self) -> None:
        """Draw the initial weights; the Runner calls it."""
        with plain_order(self):
            super().init_weights()

    @abstractmethod
    def train_step(self, data: Any, optim_wrapper: OptimWrapperDict) -> Losses:
        """One iteration.

        Args:
            data: Ignored, except by the upper bound with real data.
            optim_wrapper: One wrapper for each trained network.

        Returns:
            The losses of each network's last step, for the log.
        """

    def begin_training(self, num_iterations: int) -> None:
        """Prepare for a run of a known length, also for a resumed one.

        Args:
            num_iterations: Calls of :meth:`train_step` in the whole run.
        """
        self.num_iterations = num_iterations
        if self.procedural is None:
            return
        self.procedural.make(
            self.teacher,
            self.streams.fresh('procedural', self.device, shared=True))
        if self.scale_targets:
            deviation = torch.tensor(self.procedural.logit_deviation)
            # Processes may differ by rounding.
            all_reduce(deviation, 'mean')
            self._scale_student(float(deviation))

    @property
    def total_student_steps(self) -> int:
        """Student steps of the whole run."""
        assert self.num_iterations is not None, 'begin_training comes first'
        return self.num_iterations * self.num_student_steps

    @property
    def progress(self) -> float:
        """Share of the student's steps that were done when the iteration
        began, in [0, 1]."""
        done = self.counters.student_steps
        return (done -
                done % self.num_student_steps) / self.total_student_steps

    @contextmanager
    def train_only(self, network: str,
                   wrapper: OptimWrapper) -> Iterator[None]:
        """Within the block, the losses of one step are computed.

        The optimiser's context is open. The student is frozen and in eval
        mode, unless the step trains the student, or trains the generator
        against a student in training mode.

        Args:
            network: Name of the network that the step trains.
            wrapper: The network's optimiser wrapper.
        """
        others = [] if network == 'student' else [self.student]
        with frozen(*others), wrapper.optim_context(getattr(self, network)):
            if network == 'generator':
                # Its distributed wrapper stays in eval mode and is not
                # called, because no parameter gets a gradient.
                unwrapped(self.student).train(
                    self.student_mode_in_generator_step == 'train')
            if self.frozen_norm_share > 0 \
                    and self.progress >= 1 - self.frozen_norm_share:
                for module in self.student.modules():
                    if has_running_statistics(module):
                        module.eval()
            yield

    def update(self, network: str, wrapper: OptimWrapper, *means:
               tuple[Losses, int]) -> Losses:
        """Minimise the sum of all losses by one step of the optimiser.

        The gradient is that of the means over the samples of all processes.
        A step with a loss or gradient that is not finite is skipped and
        counted (:class:`~tadfkd.engine.skip_nonfinite.GuardedOptimWrapper`).

        Args:
            network: Name of the network that the step trains.
            wrapper: The network's optimiser wrapper.
            *means: Losses that are means over samples of this process, and
                the number of these samples.

        Returns:
            The losses and their sum, without graph.
        """
        losses: Losses = {}
        for terms, count in means:
            losses |= global_means(terms, count)
        total = summed(losses)
        wrapper.update_params(total)
        self.counters.steps[network] += 1
        if network == 'student':
            self.after_student_step()
        return with_total(losses, total)

    def after_student_step(self) -> None:
        """Average the student; after the last step of the run, let it be what
        the run gives."""
        student = unwrapped(self.student)
        if self.average is not None:
            # The plain mean of the first steps, as long as they are few.
            reach = min(self.counters.student_steps,
                        self.average_share * self.total_student_steps)
            self.average.update(student, 1 / max(1.0, reach))
        if (self.average is None and not self.scale_targets) \
                or self.counters.student_steps < self.total_student_steps:
            return
        if self.average is not None:
            student.load_state_dict(self.average.module.state_dict())
        if self.scale_targets:
            self._scale_student(1.0)

    @torch.no_grad()
    def _scale_student(self, scale: float) -> None:
        """Let ``logit_scale`` be ``scale``. The last layer makes up for it,
        unless the student is untrained."""
        if self._is_new and self.counters.student_steps == 0:
            self.logit_scale.fill_(scale)
        old = float(self.logit_scale)
        factor = old / scale
        if factor == 1:
            return
        assert self.procedural is not None
        images_BCHW = self.procedural.sample(self.batch_size,
                                             torch.Generator()).to(self.device)
        networks = [unwrapped(self.student)]
        if self.average is not None:
            networks.append(self.average.module)
        layers = [self._last_layer(network) for network in networks]
        with frozen(*networks):
            before = [self._classified(one, images_BCHW) for one in networks]
            _multiply(layers, factor)
            self.logit_scale.fill_(scale)
            after = [self._classified(one, images_BCHW) for one in networks]
        if all(
                torch.allclose(was, new, rtol=1e-3, atol=1e-3)
                for was, new in zip(before, after)):
            return
        _multiply(layers, 1 / factor)
        self.logit_scale.fill_(old)
        print_log(
            'the student does not end in one linear layer, so its logits are '
            f'those of the teacher divided by {old:.4g}',
            logger='current',
            level=logging.WARNING)

    def _last_layer(self, network: nn.Module) -> nn.Linear | None:
        """The layer of a student that gives one number per class."""
        blank_BCHW = blank_images(unwrapped(self.generator)).to(self.device)
        with frozen(network):
            return find_classification_layer(
                network, lambda: self._classified(network, blank_BCHW),
                self.num_classes)

    def num_procedural(self, size: int) -> int:
        """How many images of a student's batch are procedural."""
        if self.procedural is None:
            return 0
        if self.progress < self.procedural.alone:
            return size
        return round(self.procedural.share * size)

    def procedural_images(self, size: int) -> Tensor:
        """images_BCHW of the procedural set, drawn with replacement."""
        assert self.procedural is not None
        return self.procedural.sample(
            size, self.streams.get('procedural_choice')).to(self.device)

    def calibrate(self, losses_of: Callable[[Tensor], Losses]) -> None:
        """Find the weights of the generator's losses, the first time.

        Args:
            losses_of: The losses of images_BCHW.
        """
        weights = self.loss_weights
        if weights is None or weights.weights:
            return
        assert self.procedural is not None
        images_BCHW = self.procedural_images(self.CALIBRATION_SIZE)
        # With half the contrast, because the statistics of the procedural
        # images are right already and would have no gradient.
        mean_B111 = images_BCHW.mean((1, 2, 3), keepdim=True)
        images_BCHW = mean_B111 + (images_BCHW - mean_B111) / 2
        with frozen(self.student):
            weights.find(losses_of, images_BCHW)
        print_log(
            'weights of the losses: ' +
            ', '.join(f'{name} {weight:.4g}'
                      for name, weight in weights.weights.items()),
            logger='current')

    def weighted(self, losses: Losses) -> Losses:
        """The generator's losses with their calibrated weights."""
        return losses if self.loss_weights is None else \
            self.loss_weights.applied(losses)

    def student_losses(self, images_BCHW: Tensor,
                       target: TeacherOutput) -> Losses:
        """The terms whose sum the student minimises: ``student_loss``.

        Args:
            images_BCHW: The images that the student sees, without graph.
            target: The teacher's answer to the same images, without graph.
        """
        student_BK = self.student_logits(images_BCHW)
        teacher_BK = target.logits_BK
        if not self.scale_targets:
            return dict(logits=self.student_loss(student_BK, teacher_BK))
        teacher_BK = at_least_float32(teacher_BK)
        teacher_BK = teacher_BK - teacher_BK.mean(1, keepdim=True)
        return dict(
            logits=self.student_loss(student_BK, teacher_BK) /
            self.logit_scale)

    def student_logits(self,
                       images_BCHW: Tensor,
                       weights: dict[str, Tensor] | None = None) -> Tensor:
        """The student's (B, K) logits for images in [0, 1].

        Args:
            images_BCHW: Float in [0, 1].
            weights: By name, in place of the student's own parameters.
        """
        network = unwrapped(self.student)
        # A frozen student is called without its distributed wrapper, which
        # would wait for gradients of its parameters. The wrapper tells.
        student = self.student if self.student.training else network
        if weights is not None:

            def student(inputs: Tensor, mode: str) -> Any:
                return functional_call(network, weights, (inputs, ),
                                       dict(mode=mode))

        return self._classified(student, images_BCHW)

    @property
    def result(self) -> nn.Module:
        """What the run will give: the student's moving average if there is
        one, or else the student, without its distributed wrapper."""
        return unwrapped(self.student) if self.average is None \
            else self.average.module

    def result_logits(self, images_BCHW: Tensor) -> Tensor:
        """The (B, K) logits of :attr:`result`."""
        if self.average is None:
            return self.student_logits(images_BCHW)
        return self._classified(self.result, images_BCHW)

    def _classified(self, network: Any, images_BCHW: Tensor) -> Tensor:
        count = len(images_BCHW)
        if self.pad_to > 1 and not uses_batch_statistics(
                unwrapped(self.student)):
            images_BCHW = padded(images_BCHW, self.pad_to)
        logits_BK = classifier_logits(network, self.student_input(images_BCHW),
                                      self._student_part)[:count]
        return logits_BK * self.logit_scale if self.scale_targets \
            else logits_BK

    @torch.no_grad()
    def teacher_logits(self, images_BCHW: Tensor) -> Tensor:
        """The teacher's (B, K) logits for images in [0, 1] of any device,
        without graph."""
        return self.teacher(images_BCHW.to(self.device)).logits_BK

    def synthesize(self, size: int, purpose: str = 'held_out') -> Tensor:
        """Images from latents that training never draws.

        The same latents at each call with the same ``purpose``. Nothing in
        the model changes.

        Args:
            size: Number of images.
            purpose: Name of the stream of latents.

        Returns:
            images_BCHW, float in units of [0, 1], without graph.
        """
        stream = self.streams.fresh(purpose, self.device)
        if self.procedural is not None and self.procedural.share == 1:
            # The generator never learns.
            return self.procedural.draw(size, stream)
        return self.candidates.held_out(size, stream)

    def forward(self,
                inputs: Tensor,
                data_samples: list | None = None,
                mode: str = 'tensor') -> Tensor | list:
        """The student's answer to images in [0, 1].

        Args:
            inputs: images_BCHW.
            data_samples: One mmpretrain ``DataSample`` per image, to which
                the prediction is added in mode ``'predict'``.
            mode: ``'tensor'`` for logits, ``'predict'`` for data samples.
        """
        if mode not in ('tensor', 'predict'):
            raise ValueError(f"mode must be 'tensor' or 'predict', got "
                             f'{mode!r}: training goes through train_step')
        logits_BK = self.result_logits(inputs)
        if mode == 'tensor':
            return logits_BK
        return with_predictions(logits_BK, data_samples, self.activation)

    @property
    def activation(self) -> Literal['softmax', 'sigmoid']:
        """How logits become scores: as the teacher's, or without a teacher
        as the student's head says."""
        if self.teacher is not None:
            return self.teacher.facts['activation'].value
        return facts_from_head(unwrapped(self.student)).get(
            'activation', Fact('softmax', 'assumed')).value

    @property
    def device(self) -> torch.device:
        """The device of the networks."""
        return next(self.student.parameters()).device

    def training_state(self) -> dict:
        """What an exact continuation needs beside weights and optimisers."""
        return dict(
            counters=self.counters.state_dict(),
            seed=self.streams.seed,
            streams=self.streams.state_dict(),
            queue=self.candidates.queue.state_dict(),
            loss_weights=self.loss_weights.weights
            if self.loss_weights else {})

    def load_training_state(self, state: dict) -> None:
        """Continue from what :meth:`training_state` returned."""
        self.counters.load_state_dict(state['counters'])
        self.streams.seed = state['seed']
        self.streams.load_state_dict(state['streams'])
        self.candidates.queue.load_state_dict(state['queue'], self.device)
        if self.loss_weights is not None:
            self.loss_weights.weights = state['loss_weights']
