"""Training, distilling and testing from a config."""
import json
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner, set_random_seed
from torch import Tensor, nn

from tadfkd.apis.config import is_distillation, load_config
from tadfkd.apis.config_checks import (check_components, check_schedules,
                                       check_stages)
from tadfkd.apis.runner import (build_loader, build_optimizers, build_runner,
                                with_epoch_loop, writing_errors)
from tadfkd.checkpoints.reading import read_checkpoint, restricted_unpickling
from tadfkd.checkpoints.resume_point import find_start
from tadfkd.checkpoints.weights import load_weights
from tadfkd.distributed import process_group
from tadfkd.errors import UserError
from tadfkd.utils.files import write_atomically
from tadfkd.utils.library_errors import (as_config_error,
                                         memory_errors_as_user_errors,
                                         registry_errors_as_user_errors)


def distill(config: str | os.PathLike | Config,
            **changes: Any) -> dict[str, Any]:
    """Distil a student as a config says.

    Args:
        config: A config file, the name of a shipped config, or a config from
            :func:`load_config`.
        **changes: Further arguments of :func:`load_config`. Only a config
            file can be changed.

    Returns:
        The content of ``summary.json`` in the work directory of the run.

    Raises:
        UserError: For a mistake in the config or the files that it names.
    """
    if not isinstance(config, Config):
        config = load_config(config, **changes)
    elif changes:
        raise UserError('changes were given with a config that is loaded '
                        f'already ({", ".join(changes)}): give the changes to '
                        'load_config')
    if not is_distillation(config):
        raise UserError(f'{config.filename} has no model.teacher, so there is '
                        'nothing to distil: use train')
    train(config)
    summary = Path(config.work_dir, 'summary.json')
    if not summary.is_file():
        raise UserError(f'the run has written no {summary}: add a SummaryHook '
                        'to default_hooks, or use train')
    return json.loads(summary.read_text())


def train(config: Config, hooks: Sequence[Hook] = ()) -> nn.Module:
    """Train what the config describes: a student, or a plain classifier.

    Args:
        config: From :func:`load_config`.
        hooks: Further hooks, called after all hooks of the config.

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
        first_epoch = _FirstEpoch()
        for hook in (*hooks, first_epoch):
            runner.register_hook(hook, 'LOWEST')
        with memory_errors_as_user_errors(), as_config_error(
                'the run',
                has_begun=lambda: first_epoch.has_begun), writing_errors(
                    config):
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


def trained_model(config: Config, checkpoint: str | os.PathLike) -> Any:
    """The model of a config with the weights of a checkpoint.

    If the config distils, the model has no teacher, and only the student and
    its average have the weights of the checkpoint for sure.

    Args:
        config: From :func:`load_config`.
        checkpoint: A checkpoint of a run of this config.

    Raises:
        UserError: If the checkpoint does not fit.
    """
    content = read_checkpoint(checkpoint)
    weights = content.get('state_dict', content)
    if not is_distillation(config):
        model = MODELS.build(config.model)
        load_weights(model, weights, f'checkpoint {checkpoint}')
        return model
    model = MODELS.build(_student_only(config.model, content.get('meta')))
    others = {
        f'{network}.*'
        for network, dot, _ in (str(name).partition('.') for name in weights)
        if dot and network not in ('student', 'average')
    }
    load_weights(
        model,
        weights,
        f'checkpoint {checkpoint}',
        allow_missing=sorted(others))
    return model


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


def _student_only(model: dict, meta: Any) -> dict:
    """The model without teacher. It has as many classes as the checkpoint."""
    num_classes = meta.get('num_classes') if isinstance(meta, dict) else None
    return dict(
        model, teacher=None, num_classes=model.get('num_classes', num_classes))


def _processes(config: Config) -> AbstractContextManager[None]:
    return process_group(config.launcher,
                         config.get('env_cfg', {}).get('dist_cfg'))


def prepare(config: Config) -> None:
    """Set the default scope and the seed of a config, before its parts are
    built."""
    init_default_scope(config.get('default_scope', 'mmengine'))
    # Before the Runner does the same, because the model is built before it;
    # a seed that is drawn here is the one that the Runner reports.
    randomness = dict(config.get('randomness') or {})
    randomness['seed'] = set_random_seed(**randomness)
    config.randomness = randomness
