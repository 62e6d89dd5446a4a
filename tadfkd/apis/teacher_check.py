"""A check of a teacher before a run."""
import math
import os
import re
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.evaluator import Evaluator
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, set_random_seed

from tadfkd.algorithms import BaseDFKD
from tadfkd.apis.config import (EVALUATION, is_distillation, load_config,
                                merge_options)
from tadfkd.apis.config_checks import check_class_count
from tadfkd.classifiers.configs import as_own_network
from tadfkd.classifiers.facts import Facts
from tadfkd.classifiers.own_network import LiveObject, name_of
from tadfkd.errors import UserError, require_at_least
from tadfkd.evaluation import (TeacherReport, calibrate_batch_norm,
                               first_images, inspect_teacher, teacher_metrics,
                               try_steps)
from tadfkd.registry import MODELS
from tadfkd.teachers import BaseTeacher
from tadfkd.teachers.sources import teacher_from
from tadfkd.utils.library_errors import registry_errors_as_user_errors
from tadfkd.utils.shipped import CONFIGS, PREFIX

#: Sizes of the small generator and student for a teacher without a config.
_LATENT_SIZE, _WIDTH, _STUDENT_SIZE = 100, 16, 32
#: Of a ResNet-18, per squared number of channels of its first stage.
_RESNET18_PARAMETERS = 2730


def check_teacher(source: Any,
                  checkpoint: str | None = None,
                  student: Any = None,
                  options: dict[str, Any] | None = None,
                  batch_size: int = 16,
                  repeats: int = 3,
                  min_top1: float | None = None,
                  seed: int = 0,
                  evaluate: bool = True) -> TeacherReport:
    """Report what is known of a teacher, and train with it for some steps.

    If the teacher's weights are random, its batch-norm statistics are
    replaced by those of noise and generated images.

    Args:
        source: A config that distils the teacher, or the teacher itself,
            which then gets a small generator and student; see
            :func:`~tadfkd.teachers.sources.teacher_from`.
        checkpoint: The teacher's weights. The default is the checkpoint of
            the config; a teacher without a config gets random weights.
        student: Replaces the student of the config, or the small one: a name
            or config path, a network, or a class or function that builds one.
        options: New values by dotted key, for example
            ``model.teacher.input_size``.
        batch_size: Images per step for a teacher without a config, >= 2.
        repeats: Number of timed steps, >= 1.
        min_top1: Required accuracy on the evaluation data of the config, in
            percent; see :class:`~tadfkd.engine.TeacherSanityHook`.
        seed: Seed of all random numbers.
        evaluate: False leaves out the evaluation data of the config.

    Returns:
        The report, with its verdict.

    Raises:
        UserError: If the teacher cannot be built, loaded or called.
    """
    with registry_errors_as_user_errors():
        config = _config_of(source, checkpoint, batch_size, options or {})
        if student is not None:
            config.model.student = as_own_network(student) or student
        init_default_scope('tadfkd')
        set_random_seed(seed)
        teacher: BaseTeacher = MODELS.build(config.model.teacher)
        model = MODELS.build(_model(config, teacher)).to(get_device())
        if teacher.facts['weights'].value == 'random':
            generated_BCHW = first_images(model, 8, 'calibration')
            calibrate_batch_norm(
                teacher,
                torch.cat([generated_BCHW,
                           torch.rand_like(generated_BCHW)]))
        report = inspect_teacher(model, max(2, min(64, model.batch_size)))
        if evaluate and config.get('val_dataloader') is not None:
            _measure_accuracy(report, model, config, min_top1)
        elif evaluate and min_top1 is not None:
            report.notes.append('min_top1 was not checked, as there are no '
                                'evaluation data')
        if not report.problems and 'generator' in model.trained_networks:
            try:
                report.steps = try_steps(
                    model, build_optim_wrapper(model, config.optim_wrapper),
                    repeats)
            except UserError as error:
                report.problems.append(f'an iteration fails: {error}')
            else:
                gradient = report.steps.generator_gradient
                if not 0 < gradient < float('inf'):
                    report.problems.append('the gradient of the generator is '
                                           f'{gradient}')
        return report


def recommended_config(source: Any,
                       facts: Facts,
                       num_parameters: int,
                       checkpoint: str | None = None,
                       student: Any = None,
                       options: dict[str, Any] | None = None) -> Config:
    """A config that distils a teacher by :class:`AgnosticDFKD`.

    Args:
        source: As in :func:`check_teacher`.
        facts: Of the teacher, as :func:`check_teacher` reports them.
        num_parameters: Of the teacher.
        checkpoint: As in :func:`check_teacher`.
        student: As in :func:`check_teacher`; None takes the student of the
            config, or a ResNet-18 that is smaller than the teacher, if width
            8 is. A network of the user's own gets the teacher's input size
            and normalisation.
        options: As in :func:`check_teacher`.

    Returns:
        Without evaluation data, unless ``source`` is a config that has them.

    Raises:
        UserError: If the source cannot be read.
    """
    given = _config_of(source, checkpoint, 128, options or {})
    config = Config.fromfile(CONFIGS / '_base_/schedules/agnostic.py')
    config.merge_from_dict(
        Config.fromfile(CONFIGS / '_base_/default_runtime.py').to_dict())
    num_classes = facts['num_classes'].value
    teacher = given.model.teacher.to_dict()
    if not isinstance(source, dict):
        # The run asks for the weights instead.
        teacher.pop('allow_random_weights', None)
    height, width = _generated_size(facts)
    is_small = max(height, width) <= 64
    image_channels = 1 if teacher.get(
        'grey_to_rgb') else facts['num_channels'].value
    model = dict(
        teacher=teacher,
        student=_resnet18(
            next((base for base in (64, 32, 16)
                  if _RESNET18_PARAMETERS * base**2 < 0.75 * num_parameters),
                 8), image_channels, num_classes,
            'ResNet_CIFAR' if is_small else 'ResNet'),
        generator=dict(
            type='ConditionalGenerator',
            num_classes=num_classes,
            label_scale=0.6,
            latent_size=256,
            image_size=(height, width),
            image_channels=image_channels,
            width=64,
            head='sigmoid'),
        batch_size=given.model.batch_size,
        # Each class is in some syntheses, and in all if there are few.
        synthesis_batch_size=min(400, max(130, num_classes)),
        pool=dict(capacity=40960 if is_small else 4096, dtype='uint8'),
        **{
            name: dict(type='RandomShiftScale', shift=0.125, scale=0.15)
            for name in ('synthesis_augment', 'augment')
        })
    for name in ('student', 'student_input_size', 'data_preprocessor'):
        if given.model.get(name) is not None:
            model[name] = given.model[name]
    own = as_own_network(student)
    if own is not None:
        model['student_input_size'] = facts['input_size'].value
        if len(facts['mean'].value) == model['generator']['image_channels']:
            own |= {
                name: facts[name].value
                for name in ('mean', 'std', 'channel_order')
            }
    if student is not None:
        model['student'] = own or student
    config.merge_from_dict(
        dict(
            model=model,
            train_cfg=dict(max_epochs=100),
            train_dataloader=dict(dataset=dict(num_steps=20)),
            **{key: given.get(key)
               for key in EVALUATION}))
    return config


def config_for_teacher(teacher: Any = None,
                       fields: dict[str, Any] = {},
                       steps: int | None = None,
                       student: Any = None,
                       test_data: Any = None,
                       teacher_checkpoint: str | None = None,
                       options: dict[str, Any] | None = None,
                       **changes: Any) -> Config:
    """The :func:`recommended_config` of a teacher without a config.

    Args:
        teacher: See :func:`~tadfkd.teachers.sources.teacher_from`.
        fields: Of ``model.teacher``.
        steps: Student steps, >= 1; None is for 50000.
        student: As in :func:`recommended_config`.
        test_data: See :class:`~tadfkd.datasets.LabelledImages`; None is for
            no evaluation.
        teacher_checkpoint: The teacher's weights.
        options: New values by dotted key.
        **changes: Further arguments of :func:`load_config`.

    Raises:
        UserError: If the teacher cannot be built, or a value is not allowed.
    """
    if teacher is None:
        raise UserError('distill has nothing to distil: give a config, or '
                        'teacher=')
    changes.setdefault(
        'work_dir',
        str(
            Path(
                'work_dirs/distill', '_to_'.join(
                    re.sub(r'\W+', '_', name_of(part)).strip('_')
                    for part in (teacher, student or 'resnet18')))))
    source = teacher_from(teacher, teacher_checkpoint) | fields
    # The facts depend on these.
    of_teacher = {
        key: value
        for key, value in (options or {}).items()
        if key.startswith('model.teacher.')
    }
    try:
        with registry_errors_as_user_errors():
            given = _config_of(source, None, 128, of_teacher)
            init_default_scope('tadfkd')
            built = MODELS.build(given.model.teacher)
    except UserError as error:
        raise UserError(_in_arguments(str(error))) from error
    config = recommended_config(
        source,
        built.facts,
        sum(parameter.numel() for parameter in built.network.parameters()),
        student=student,
        options=of_teacher)
    if steps is not None:
        require_at_least('distill', 'steps', steps, 1)
        _set_steps(config, steps)
    if test_data is not None:
        _evaluate_on(config, test_data)
    return load_config(config.to_dict(), options, **changes)


def _evaluate_on(config: Config, test_data: Any) -> None:
    """Let teacher and student be evaluated on images of a user, in place."""
    generator = config.model.generator
    parts = dict(
        dataloader=dict(
            batch_size=256,
            num_workers=0,
            dataset=dict(
                type='LabelledImages',
                pairs=LiveObject(test_data),
                image_size=generator.image_size,
                num_channels=generator.image_channels,
                num_classes=generator.num_classes),
            sampler=dict(type='DefaultSampler', shuffle=False)),
        evaluator=dict(type='mmpretrain.Accuracy', topk=(1, )),
        cfg=dict())
    for stage in 'val', 'test':
        for name, part in parts.items():
            config[f'{stage}_{name}'] = part
    config.model.data_preprocessor = dict(
        type='mmpretrain.ClsDataPreprocessor',
        mean=[0.0],
        std=[255.0],
        to_rgb=False)
    config.dataset_name = name_of(test_data)


def _in_arguments(message: str) -> str:
    """A message with the arguments of ``distill`` for those of a teacher."""
    for field, argument in dict(
            input_size='image_size',
            num_channels='channels',
            mean='mean',
            std='std',
            value_range='value_range').items():
        message = re.sub(rf'model\.teacher\.{field}\b', argument, message)
    return message


def _set_steps(config: Config, steps: int) -> None:
    """Let a run have at least this many student steps, in whole epochs."""
    per_iteration = min(steps, config.model.num_student_steps)
    iterations = math.ceil(steps / per_iteration)
    most = min(iterations, max(10, min(100, iterations // 20)))
    # The most epochs of those numbers that add the fewest steps.
    epochs = min(
        range(most, most // 2, -1), key=lambda number: -iterations % number)
    config.model.num_student_steps = per_iteration
    config.train_cfg.max_epochs = epochs
    config.train_dataloader.dataset.num_steps = math.ceil(iterations / epochs)


def _config_of(source: Any, checkpoint: str | None, batch_size: int,
               options: dict[str, Any]) -> Config:
    """A config with ``model`` and ``optim_wrapper``; it has evaluation data
    only if the source is a config that has them."""
    if isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        is_file = path.endswith('.py') and Path(path).is_file()
        if (is_file or path.startswith(PREFIX)) and is_distillation(
                load_config(path)):
            return load_config(path, options, teacher_checkpoint=checkpoint)
    teacher = teacher_from(source, checkpoint)
    # A config says itself whether its teacher may have random weights.
    if not isinstance(source,
                      dict) and checkpoint is None and teacher['type'] in (
                          'MMPretrainTeacher', 'TorchvisionTeacher'):
        teacher['allow_random_weights'] = True
    config = Config(
        dict(
            model=dict(
                type='TADFKD',
                teacher=teacher,
                batch_size=batch_size,
                student_loss=dict(type='L1Loss'),
                adversarial_loss=dict(type='JSLoss'),
                bn_loss=dict(type='BNStatisticsLoss')),
            optim_wrapper=dict(
                constructor='PerNetworkConstructor',
                student=dict(optimizer=dict(type='SGD', lr=0.01)),
                generator=dict(optimizer=dict(type='Adam', lr=1e-3)))))
    merge_options(config, options)
    return config


def _model(config: Config, teacher: BaseTeacher) -> dict:
    """The model of a config, completed by a small generator and student."""
    channels = teacher.facts['num_channels'].value
    generator = dict(
        type='UpsamplingGenerator',
        latent_size=_LATENT_SIZE,
        image_size=_generated_size(teacher.facts),
        image_channels=channels,
        width=_WIDTH)
    model = config.model.to_dict()
    if 'student' not in model:
        model.update(
            student=_resnet18(16, channels, teacher.num_classes),
            student_input_size=_STUDENT_SIZE)
    return dict(generator=generator) | model | dict(teacher=teacher)


def _resnet18(width: int,
              channels: int,
              num_classes: int,
              backbone: str = 'ResNet_CIFAR') -> dict:
    """A student whose first stage has this many channels."""
    return dict(
        type='ImageClassifier',
        backbone=dict(
            type=backbone,
            depth=18,
            in_channels=channels,
            base_channels=width,
            stem_channels=width),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='LinearClsHead',
            num_classes=num_classes,
            in_channels=8 * width))


def _generated_size(facts: Facts) -> tuple[int, ...]:
    """The size of generated images: multiples of 4 near the teacher's."""
    return tuple(
        max(8, -(-pixels // 4) * 4) for pixels in facts['input_size'].value)


def _measure_accuracy(report: TeacherReport, model: BaseDFKD, config: Config,
                      min_top1: float | None) -> None:
    check_class_count(config, 'val', model)
    loader = Runner.build_dataloader(config.val_dataloader)
    evaluator = Evaluator(config.val_evaluator)
    evaluator.dataset_meta = getattr(loader.dataset, 'metainfo', None)
    # The default is what the run itself requires.
    hook = (config.get('default_hooks') or {}).get('teacher_sanity') or {}
    if min_top1 is None:
        min_top1 = hook.get('min_top1')
    top1 = teacher_metrics(model, loader, evaluator).get(
        hook.get('accuracy', 'accuracy/top1'))
    if top1 is not None:
        report.judge_accuracy(top1, min_top1)
