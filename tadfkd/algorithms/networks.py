"""The networks of a distillation, and evaluation through the student."""
from typing import Any, cast

import torch
from mmengine.dist import get_rank
from mmengine.model import BaseModel
from torch import Tensor
from torch.func import functional_call

from tadfkd.algorithms.building import build_part
from tadfkd.algorithms.state_dicts import drop_teacher, ignore_missing_teacher
from tadfkd.classifiers.outputs import classifier_logits, with_predictions
from tadfkd.classifiers.student import build_student
from tadfkd.distributed.wrapper import unwrapped
from tadfkd.errors import UserError
from tadfkd.generators import BaseGenerator
from tadfkd.networks.compiling import compile_in_place
from tadfkd.networks.freezing import frozen
from tadfkd.teachers import BaseTeacher
from tadfkd.utils.randomness import RandomStreams


class DistillationNetworks(BaseModel):
    """A frozen teacher, a student, and a generator that fit each other.

    To the outside this is the student: ``forward`` and the evaluation loops
    ask it alone, and the frozen teacher is not in the state dict.

    Args:
        teacher: Config of a :class:`BaseTeacher`, or one that is built; None
            leaves it out, for evaluation of the student alone.
        student: The student classifier: name in mmpretrain's zoo, config
            path, ``timm::`` or ``transformers::`` name, or model dict. One
            that is named gets a head for the teacher's classes.
        generator: Config of a :class:`BaseGenerator`.
        data_preprocessor: Maps evaluation images to [0, 1], RGB.
        student_input_size: Height and width that the student's images are
            resized to. None takes those of the config that ``student``
            names; images stay as they are for a model dict.
        num_classes: Of a named student without a teacher; otherwise the
            teacher tells.
        channels_last: Whether convolutions keep the channels of a pixel side
            by side in memory, which many processors and GPUs convolve
            faster; results change by rounding. Not for networks of a few
            channels on one thread: oneDNN of torch 2.14 damages memory in
            their backward pass.
        compile: Whether student, generator and the teacher, where logits
            alone are asked of it, go through ``torch.compile``; a dict has
            its arguments. The first steps take minutes then; results change
            by rounding.

    Raises:
        UserError: If a network cannot take the generated images, or the
            class counts differ.
    """

    #: Names of the networks that training changes; each has its optimiser.
    trained_networks: tuple[str, ...] = ('student', 'generator')
    #: Whether losses may be scaled, as float16 needs it; not where gradients
    #: are combined outside of their network's wrapper.
    scalable_losses = True

    def __init__(self,
                 teacher: dict | BaseTeacher | None,
                 student: str | dict,
                 generator: dict,
                 data_preprocessor: dict | None = None,
                 student_input_size: int | tuple[int, int] | None = None,
                 num_classes: int | None = None,
                 channels_last: bool = False,
                 compile: bool | dict = False) -> None:
        super().__init__(data_preprocessor)
        self.generator = build_part('generator', generator, BaseGenerator)
        if isinstance(teacher, dict):
            teacher = build_part('teacher', teacher, BaseTeacher)
        # None for evaluation only; every training step asks it.
        self.teacher = cast(BaseTeacher, teacher)
        if self.teacher is not None:
            num_classes = self.teacher.num_classes
        self.student, self.student_input, self._student_part = build_student(
            student, num_classes, student_input_size)
        self.num_classes = self._check_networks()
        if channels_last:
            # The weights alone: what a convolution makes is ordered like
            # them, and what is loaded into them is copied in their order.
            self.to(memory_format=torch.channels_last)
        self.compiled_with = compile
        if compile:
            compile_in_place(compile, self.student, self.generator,
                             getattr(self.teacher, 'fastest', None))
        # The seed that the Runner (or the user) gave to torch.
        self.streams = RandomStreams(torch.initial_seed(), get_rank())
        self._register_state_dict_hook(drop_teacher)
        self.register_load_state_dict_post_hook(ignore_missing_teacher)

    @torch.no_grad()
    def teacher_logits(self, images_BCHW: Tensor) -> Tensor:
        """The teacher's (B, K) logits for images in [0, 1] of any device,
        without graph."""
        return self.teacher(images_BCHW.to(self.device)).logits_BK

    def student_logits(self,
                       images_BCHW: Tensor,
                       weights: dict[str, Tensor] | None = None) -> Tensor:
        """The student's (B, K) logits for images in [0, 1].

        Gradients reach a frozen student's images but not its parameters, so
        it is called without its wrapper then: a wrapper would wait for the
        gradients of its parameters.

        Args:
            images_BCHW: Float in [0, 1].
            weights: By name, in place of the student's own parameters.
        """
        network = unwrapped(self.student)
        student = self.student if self.student.training else network
        if weights is not None:

            def student(inputs: Tensor, mode: str) -> Any:
                return functional_call(network, weights, (inputs, ),
                                       dict(mode=mode))

        return classifier_logits(student, self.student_input(images_BCHW),
                                 self._student_part)

    @torch.no_grad()
    def synthesize(self, size: int, purpose: str = 'held_out') -> Tensor:
        """Images from latents that training never draws.

        The same latents at each call with the same ``purpose``, and nothing
        in the model changes.

        Args:
            size: Number of images.
            purpose: Name of the stream of latents.

        Returns:
            images_BCHW, float in [0, 1].
        """
        generator = unwrapped(self.generator)
        with frozen(generator):
            return self.render(generator, size,
                               self.streams.fresh(purpose, self.device))

    def render(self, generator: BaseGenerator, size: int,
               stream: torch.Generator) -> Tensor:
        """Images of a generator from the numbers of one stream.

        Args:
            generator: The algorithm's, or a copy of it.
            size: Number of images.
            stream: Of latents and, for a conditional generator, labels.

        Returns:
            images_BCHW, float in [0, 1].
        """
        latents_BZ = self.sample_latents(size, stream)
        labels_B = None
        if generator.num_classes is not None:
            labels_B = self.sample_labels(size, stream)
        return generator(latents_BZ, labels_B)

    def sample_latents(self, size: int, stream: torch.Generator) -> Tensor:
        """latents_BZ from N(0, 1), on the device of the stream."""
        return torch.randn(
            size,
            unwrapped(self.generator).latent_size,
            generator=stream,
            device=stream.device)

    def sample_labels(self, size: int, stream: torch.Generator) -> Tensor:
        """labels_B, uniform over the classes, on the device of the stream."""
        return torch.randint(
            self.num_classes, (size, ), generator=stream, device=stream.device)

    def forward(self,
                inputs: Tensor,
                data_samples: list | None = None,
                mode: str = 'tensor') -> Tensor | list:
        """The student's answer to images in [0, 1].

        Args:
            inputs: images_BCHW.
            data_samples: One mmpretrain ``DataSample`` an image, to which
                the prediction is added in mode ``'predict'``.
            mode: ``'tensor'`` for logits, ``'predict'`` for data samples.
        """
        if mode not in ('tensor', 'predict'):
            raise ValueError(f"mode must be 'tensor' or 'predict', got "
                             f'{mode!r}: training goes through train_step')
        logits_BK = self.student_logits(inputs)
        if mode == 'tensor':
            return logits_BK
        return with_predictions(logits_BK, data_samples)

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.student.parameters()).device

    @torch.no_grad()
    def _check_networks(self) -> int:
        """Try two blank images on the student; return the class count."""
        channels, size = (self.generator.image_channels,
                          self.generator.image_size)
        if self.teacher is not None:
            expected = self.teacher.facts['num_channels']
            repeats = channels == 1 and self.teacher.input_adapter.grey_to_rgb
            if expected.value != channels and not repeats:
                raise UserError(
                    f'the teacher takes images of {expected.value} channels '
                    f'({expected.source}), the generator makes {channels}: '
                    'change model.generator.image_channels, or set '
                    'model.teacher.grey_to_rgb for grey images')
        images = torch.zeros(2, channels, *size)
        with frozen(self.student):
            try:
                num_classes = self.student_logits(images).shape[1]
            except Exception as error:
                # The network is anybody's: it can fail in any way.
                reason = str(error).partition('\n')[0]
                raise UserError(
                    'the student cannot take the generated images of shape '
                    f'{tuple(images.shape[1:])} '
                    f'({reason or type(error).__name__}): change '
                    'model.student_input_size, model.generator.image_size or '
                    'image_channels, or model.student') from error
        conditional = self.generator.num_classes
        if conditional is not None and conditional != num_classes:
            raise UserError(
                f'the student has {num_classes} classes and the generator '
                f'{conditional}: set num_classes in model.generator')
        if self.teacher is not None and \
                num_classes != self.teacher.num_classes:
            raise UserError(
                f'the student has {num_classes} classes and the teacher '
                f'{self.teacher.num_classes}: set num_classes of the head in '
                'model.student')
        return num_classes
