"""Training, distilling and testing from a config."""
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import MODELS
from mmengine.runner import Runner
from torch import Tensor, nn

from tadfkd.apis.config import is_distillation, load_config
from tadfkd.apis.config_checks import (check_components, check_schedules,
                                       check_stages)
from tadfkd.apis.fast import fast_settings
from tadfkd.apis.result import Run
from tadfkd.apis.runner import (build_loader, build_optimizers, build_runner,
                                with_epoch_loop, writing_errors)
from tadfkd.apis.teacher_check import config_for_teacher
from tadfkd.apis.trained import prepare, trained_model
from tadfkd.checkpoints.reading import restricted_unpickling
from tadfkd.checkpoints.resume_point import find_start
from tadfkd.distributed import process_group
from tadfkd.engine.hooks.progress import ProgressHook
from tadfkd.errors import UserError
from tadfkd.utils.files import write_atomically
from tadfkd.utils.library_errors import (as_config_error,
                                         memory_errors_as_user_errors,
                                         registry_errors_as_user_errors)


def distill(config: str | os.PathLike | Config | dict | None = None,
            *,
            teacher: Any = None,
            student: Any = None,
            teacher_checkpoint: str | None = None,
            image_size: int | tuple[int, int] | None = None,
            channels: int | None = None,
            mean: Sequence[float] | None = None,
            std: Sequence[float] | None = None,
            value_range: float | None = None,
            steps: int | None = None,
            test_data: Any = None,
            verbose: bool = False,
            **changes: Any) -> Run:
    """Distil a student from a teacher, or as a config says.

    Without a config, :class:`~tadfkd.algorithms.AgnosticDFKD` distils the
    teacher with the setting that it has for any teacher. Objects that are
    given stay as they are: the run trains a copy of the student.

    Args:
        config: A config file, the name of a shipped config, the content of a
            config, or a config from :func:`load_config`.
        teacher: A network in PyTorch, a class or function that builds one, a
            name or a file: see
            :func:`~tadfkd.teachers.sources.teacher_from`.
        student: A network, a class or function that builds one, or a name:
            see :class:`~tadfkd.algorithms.base.BaseDFKD`. It gives one logit
            per class of the teacher. A network of your own gets the teacher's
            input. The default is a ResNet-18 that is smaller than the
            teacher, if width 8 is.
        teacher_checkpoint: File of the teacher's weights, if it has none.
        image_size: Height and width that the teacher takes, in pixels.
        channels: Of these images.
        mean: The teacher's normalisation, per channel in units of
            [0, ``value_range``].
        std: Likewise, > 0.
        value_range: White in the units of ``mean`` and ``std``; the default
            is 255.
        steps: Student steps, >= 1; a few are added where epochs would not be
            whole. The default is 50000.
        test_data: A data set of images and labels, on which teacher and
            student are evaluated; nothing learns from it. See
            :class:`~tadfkd.datasets.LabelledImages`. The default is none.
        verbose: As for :func:`train`.
        **changes: Further arguments of :func:`load_config`. A config that is
            loaded already cannot be changed.

    Returns:
        The run, with its student.

    Raises:
        UserError: For a mistake in the config, an argument or a file.

    Example::

        run = distill(teacher=net, student=small, image_size=28, channels=1,
                      mean=[0.286], std=[0.353], value_range=1, steps=750)
        run.student(images)
    """
    fields = {
        name: value
        for name, value in dict(
            input_size=image_size,
            num_channels=channels,
            mean=mean,
            std=std,
            value_range=value_range).items() if value is not None
    }
    changes |= {
        name: value
        for name, value in dict(
            teacher=teacher,
            student=student,
            teacher_checkpoint=teacher_checkpoint).items() if value is not None
    }
    if config is None:
        loaded = config_for_teacher(
            fields=fields, steps=steps, test_data=test_data, **changes)
    elif fields or steps is not None or test_data is not None:
        raise UserError(
            'image_size, channels, mean, std, value_range, steps '
            'and test_data are for a teacher without config: set them in '
            'the config')
    elif not isinstance(config, Config):
        loaded = load_config(config, **changes)
    elif changes:
        raise UserError('changes were given with a config that is loaded '
                        f'already ({", ".join(changes)}): give the changes to '
                        'load_config')
    else:
        loaded = config
    if not is_distillation(loaded):
        raise UserError(f'{loaded.filename or "the config"} has no '
                        'model.teacher, so there is nothing to distil: use '
                        'train')
    train(loaded, verbose=verbose)
    if not Path(loaded.work_dir, 'summary.json').is_file():
        raise UserError(f'the run has written no {loaded.work_dir}/summary.'
                        'json: add a SummaryHook to default_hooks, or use '
                        'train')
    return Run(loaded)


def train(config: Config,
          hooks: Sequence[Hook] = (),
          verbose: bool = False) -> nn.Module:
    """Train what the config describes: a student, or a plain classifier.

    Args:
        config: From :func:`load_config`.
        hooks: Further hooks, called after all hooks of the config.
        verbose: Whether the console has everything that the log file has,
            in place of short lines and, on a terminal, a live line.

    Returns:
        The trained model.

    Raises:
        UserError: For a mistake in the config or the files that it names,
            mostly before anything is written; and if the run cannot write.
        Interrupted: If a signal told the run to stop. The run is saved then.
    """
    with registry_errors_as_user_errors(), restricted_unpickling(), \
            _processes(config):
        prepare(config)
        if is_distillation(config) and config.model.teacher is None:
            raise UserError('model.teacher is None, so there is nothing to '
                            'distil: set model.teacher')
        check_stages(config, 'train', 'val')
        check_components(config)
        start, notes = find_start(config)
        with as_config_error('model'):
            model = MODELS.build(config.model)
        check_schedules(config, model)
        loaders = {
            f'{stage}_dataloader': build_loader(config, stage, model)
            for stage in ('train', 'val')
        }
        # The Runner writes its first file, so it is built last.
        runner = build_runner(
            config,
            verbose,
            model=model,
            optim_wrapper=build_optimizers(config, model),
            train_cfg=with_epoch_loop(config.train_cfg),
            auto_scale_lr=None
            if is_distillation(config) else config.get('auto_scale_lr'),
            **start,
            test_dataloader=None,
            test_cfg=None,
            test_evaluator=None,
            **loaders)
        for note in notes:
            runner.logger.warning(note)
        if is_distillation(config):
            settings = fast_settings(config, model)
            if settings is not None:
                runner.logger.info(settings)
        first_epoch, progress = _FirstEpoch(), ProgressHook()
        for hook in (*hooks, first_epoch, *([] if verbose else [progress])):
            runner.register_hook(hook, 'LOWEST')
        with memory_errors_as_user_errors(), as_config_error(
                'the run',
                has_begun=lambda: first_epoch.has_begun), writing_errors(
                    config), closing(progress):
            return runner.train()


def test(config: Config,
         checkpoint: str | os.PathLike,
         out: str | os.PathLike | None = None) -> dict[str, float]:
    """Evaluate a checkpoint on the test data of its config.

    If the config distils, the student is evaluated and no teacher is needed.

    Args:
        config: From :func:`load_config`.
        checkpoint: A checkpoint of a run of this config.
        out: A CSV file for the predictions, one image per line, in the order
            of the data set. Only one process can write it.

    Returns:
        The metrics, accuracies in percent.

    Raises:
        UserError: If there are no test data, or the checkpoint does not fit.
    """
    if out is not None and config.launcher != 'none':
        raise UserError(f'--out is given with --launcher {config.launcher}'
                        ', and one process has only a part of the '
                        'predictions: leave one of the two out')
    with registry_errors_as_user_errors(), restricted_unpickling(), \
            _processes(config):
        if config.get('test_dataloader') is None:
            raise UserError(f'{config.filename} has no test data: set '
                            'test_dataloader, test_cfg and test_evaluator')
        prepare(config)
        check_stages(config, 'test')
        check_components(config)
        model = trained_model(config, checkpoint)
        runner = build_runner(
            config,
            model=model,
            test_dataloader=build_loader(config, 'test', model),
            load_from=None,
            resume=False,
            **dict.fromkeys(('train_dataloader', 'train_cfg', 'optim_wrapper',
                             'param_scheduler', 'val_dataloader', 'val_cfg',
                             'val_evaluator')))
        predictions = _Predictions()
        runner.register_hook(predictions)
        metrics = runner.test()
        if out is not None:
            write_atomically(out, '\n'.join(predictions.lines + ['']).encode())
        return metrics


class _Predictions(Hook):
    """The lines of a CSV file, one per image."""

    def __init__(self) -> None:
        self.lines = ['index,class,probability,label']

    def after_test_iter(self,
                        runner: Runner,
                        batch_idx: int,
                        data_batch: Any = None,
                        outputs: Sequence[Any] | None = None) -> None:
        """Add the images of a batch."""
        for sample in outputs or ():
            label, true = (' '.join(map(str,
                                        labels.flatten().tolist()))
                           for labels in (sample.pred_label,
                                          sample.get('gt_label', Tensor())))
            self.lines.append(f'{len(self.lines) - 1},{label},'
                              f'{sample.pred_score.max():.6f},{true}')


class _FirstEpoch(Hook):
    """Notes that everything is built and the first epoch has begun."""

    has_begun = False

    def before_train_epoch(self, runner: Runner) -> None:
        """Note it, after all other hooks."""
        self.has_begun = True


def _processes(config: Config) -> AbstractContextManager[None]:
    return process_group(config.launcher,
                         config.get('env_cfg', {}).get('dist_cfg'))
