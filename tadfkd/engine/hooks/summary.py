"""The record of a run: one entry per epoch, and one summary."""
import itertools
import math
import statistics
import time
from dataclasses import asdict, fields, replace
from pathlib import Path

import torch
from mmengine.dist import (all_reduce, broadcast_object_list, is_main_process,
                           master_only)
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner

from tadfkd.algorithms import BaseDFKD
from tadfkd.classifiers.configs import bare_type
from tadfkd.datasets import StepDataset
from tadfkd.distributed.wrapper import unwrapped
from tadfkd.engine.hooks.looking import never_ends_a_run
from tadfkd.errors import UserError, nearest, require_at_least
from tadfkd.evaluation import (SyntheticMetrics, measure_synthetic,
                               result_page, teacher_metrics)
from tadfkd.registry import HOOKS
from tadfkd.structures import Updates
from tadfkd.utils.files import write_json
from tadfkd.utils.versions import versions

#: Numbers that the SummaryHook measures in each epoch, beside the gradient
#: norms.
_MEASURES = ('selection_rate', 'skipped_share',
             *(field.name for field in fields(SyntheticMetrics)
               if field.name not in ('class_histogram', 'confusion')))


@HOOKS.register_module()
class SummaryHook(Hook):
    """Measures each epoch, and writes the results of the run.

    After every epoch the hook logs the selection rate of the training
    candidates, the mean gradient norm of each network, the percentage of
    skipped steps, and the
    :class:`~tadfkd.evaluation.synthetic_metrics.SyntheticMetrics` of held-out
    synthetic images. None of these needs data, and all are metrics: a hook
    may save the best ``agreement`` or stop by it.

    The work directory gets ``history.json`` (all epochs) and ``summary.json``
    (the last epoch, with the best one as a labelled extra).

    Args:
        last_k: Number of last evaluated epochs, >= 1, over which the summary
            has mean and standard deviation.
        num_images: Number of held-out synthetic images, >= 1.
        accuracy: Name of the validation metric, in percent.
    """

    def __init__(self,
                 last_k: int = 10,
                 num_images: int = 256,
                 accuracy: str = 'accuracy/top1') -> None:
        require_at_least('the SummaryHook', 'last_k', last_k, 1)
        require_at_least('the SummaryHook', 'num_images', num_images, 1)
        self.last_k = last_k
        self.num_images = num_images
        self.accuracy = accuracy
        self.history: dict = dict(teacher_top1=None, seconds=0.0, epochs=[])
        # Before the current epoch: images generated and selected, and the
        # steps of each network.
        self._images_before = 0, 0
        self._updates_before: dict[str, Updates] = {}
        self._resumed = False
        #: See :class:`SyntheticMetrics`, of the newest epoch of this process.
        self.confusion: list[tuple[int, int, int]] | None = None

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the history, and the counts at the start of the epoch."""
        self._note_seconds()
        checkpoint['summary'] = dict(
            history=self.history,
            images_before=self._images_before,
            updates_before={
                network: vars(updates)
                for network, updates in self._updates_before.items()
            })

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Take over the history of a resumed run."""
        if runner._resume and 'summary' in checkpoint:
            state = checkpoint['summary']
            self.history = state['history']
            self._images_before = state['images_before']
            self._updates_before = {
                network: Updates(**counts)
                for network, counts in state['updates_before'].items()
            }
            self._resumed = True

    def before_train(self, runner: Runner) -> None:
        """Evaluate the teacher.

        Raises:
            UserError: If a hook or schedule waits for a metric that this run
                does not have.
        """
        # The TeacherSanityHook has them, where there is one.
        metrics = runner.message_hub.get_info('teacher_metrics')
        if runner.val_loop is not None and \
                self.history['teacher_top1'] is None:
            metrics = metrics or teacher_metrics(
                unwrapped(runner.model), runner.val_dataloader,
                runner.val_loop.evaluator)
            self.history['teacher_top1'] = metrics.get(self.accuracy)
            runner.logger.info(f'teacher: {metrics}')
        if runner.val_loop is None or metrics:
            self._check_monitors(runner, metrics or {})
        self._previous_seconds = self.history['seconds']
        self._start = time.perf_counter()
        if not self._resumed:
            self._begin_epoch(runner, self._images(runner))

    @staticmethod
    def _check_monitors(runner: Runner, metrics: dict[str, float]) -> None:
        """Refuse a hook or schedule that waits for what no one measures."""
        known = {*_MEASURES, *metrics} | {
            f'{network}_gradient_norm'
            for network in unwrapped(runner.model).trained_networks
        }
        schedules = runner.param_schedulers
        if not isinstance(schedules, dict):
            schedules = dict(all=schedules)
        for part in itertools.chain(
                runner.hooks, *(each or () for each in schedules.values())):
            names = [getattr(part, 'monitor', 'auto')]
            if isinstance(part, CheckpointHook):
                names = getattr(part, 'key_indicators', [])
            for name in names:
                if name not in ('auto', *known):
                    raise UserError(
                        f'{type(part).__name__} waits for {name!r}, which '
                        f'this run does not measure: {nearest(name, known)}')

    def after_train_epoch(self, runner: Runner) -> None:
        """Measure on held-out synthetic images and log."""
        # An all-reduce, which all processes must call.
        images = self._images(runner)
        shared = [self._measure(runner, *images) if is_main_process() else {}]
        broadcast_object_list(shared)
        # They are metrics to hooks that wait for some.
        runner.message_hub.update_info('measures', shared[0])

    def _measure(self, runner: Runner, generated: int,
                 selected: int) -> dict[str, float]:
        """Measure, log and write. Returns the numbers, NaN for None."""
        model = unwrapped(runner.model)
        generated_before, selected_before = self._images_before
        # A student that trains on real data generates no images.
        new = generated - generated_before
        metrics = dict(
            selection_rate=100 * (selected - selected_before) /
            new if new else None,
            **self._steps(model),
            **asdict(measure_synthetic(model, self.num_images)))
        self.confusion = metrics.pop('confusion')
        self._begin_epoch(runner, (generated, selected))
        entry = dict(
            epoch=runner.epoch + 1,
            student_top1=None,
            **metrics,
            losses=_mean_losses(runner))
        self.history['epochs'].append(entry)
        text = '  '.join(
            f'{name}: {value:.4g}' if isinstance(value, float
                                                 ) else f'{name}: {value}'
            for name, value in metrics.items())
        runner.logger.info(f'Epoch(synthetic) [{entry["epoch"]}]  {text}')
        runner.visualizer.add_scalars(
            {
                f'synthetic/{name}': value
                for name, value in metrics.items()
                if isinstance(value, int | float)
            },
            step=entry['epoch'])
        self.write(runner)
        return {
            name: math.nan if value is None else value
            for name, value in metrics.items() if not isinstance(value, list)
        }

    def after_val_epoch(self,
                        runner: Runner,
                        metrics: dict[str, float] | None = None) -> None:
        """Add the accuracy on real data to the epoch, and what was measured
        without data to the metrics."""
        if not metrics:
            return
        if is_main_process() and self.history['epochs']:
            self.history['epochs'][-1]['student_top1'] = metrics.get(
                self.accuracy)
            self.write(runner)
        metrics.update(runner.message_hub.get_info('measures') or {})

    @master_only
    def after_train(self, runner: Runner) -> None:
        """Write the final result."""
        self.write(runner, finished=True)

    @master_only
    @never_ends_a_run
    def after_run(self, runner: Runner) -> None:
        """Log the result as a page, after the messages of other hooks."""
        if runner._train_loop is not None:
            summary = self._summary(runner, finished=True)
            runner.logger.info(result_page(summary, Path(runner.work_dir)))

    def _steps(self, model: BaseDFKD) -> dict[str, float | None]:
        """Gradient norms and skipped steps of the epoch."""
        norms: dict[str, float | None] = {}
        skipped = steps = 0
        for network in model.trained_networks:
            new = model.counters.updates[network]
            old = self._updates_before.get(network, Updates())
            applied = new.applied - old.applied
            norms[f'{network}_gradient_norm'] = (
                new.gradient_norm_sum -
                old.gradient_norm_sum) / applied if applied else None
            skipped += new.skipped - old.skipped
            steps += applied + new.skipped - old.skipped
        return norms | dict(skipped_share=100 * skipped / max(1, steps))

    @staticmethod
    def _images(runner: Runner) -> tuple[int, int]:
        """Images generated and selected so far by all processes."""
        model = unwrapped(runner.model)
        images = torch.tensor(
            [model.counters.images_generated, model.counters.images_selected],
            device=model.device)
        all_reduce(images)
        return int(images[0]), int(images[1])

    def _begin_epoch(self, runner: Runner, images: tuple[int, int]) -> None:
        self._images_before = images
        self._updates_before = {
            network: replace(updates)
            for network, updates in unwrapped(
                runner.model).counters.updates.items()
        }

    def _note_seconds(self) -> None:
        self.history['seconds'] = self._previous_seconds \
            + time.perf_counter() - self._start

    def write(self, runner: Runner, finished: bool = False) -> None:
        """Write both files."""
        self._note_seconds()
        work_dir = Path(runner.work_dir)
        write_json(work_dir / 'history.json', self.history)
        write_json(work_dir / 'summary.json', self._summary(runner, finished))

    def _summary(self, runner: Runner, finished: bool) -> dict:
        model = unwrapped(runner.model)
        counters = model.counters
        generated, selected = self._images_before
        epochs = self.history['epochs']
        top1 = [
            entry['student_top1'] for entry in epochs
            if entry['student_top1'] is not None
        ]
        last = top1[-self.last_k:]
        config = runner.cfg
        uses_data = runner.val_loop is not None or not isinstance(
            runner.train_dataloader.dataset, StepDataset)
        return dict(
            algorithm=bare_type(config.model),
            config=_relative(config.filename),
            seed=runner.seed,
            dataset=config.get('dataset_name') if uses_data else None,
            num_classes=model.num_classes,
            teacher_top1=self.history['teacher_top1'],
            student_top1_last=top1[-1] if top1 else None,
            student_top1_last_k_mean=statistics.fmean(last) if last else None,
            last_k=len(last) if last else self.last_k,
            student_top1_std=statistics.pstdev(last) if last else None,
            student_top1_max=max(top1, default=None),
            unhealthy_epochs=[
                entry['epoch'] for entry in epochs if entry.get('findings')
            ],
            findings=next(
                (entry['findings']
                 for entry in reversed(epochs) if entry.get('findings')), []),
            agreement_last=epochs[-1]['agreement'] if epochs else None,
            student_steps=counters.student_steps,
            generator_steps=counters.generator_steps,
            images_generated=generated,
            images_selected=selected,
            skipped_steps=sum(updates.skipped
                              for updates in counters.updates.values()),
            wall_seconds=round(self.history['seconds'], 1),
            finished=finished,
            versions=versions())


def _mean_losses(runner: Runner) -> dict[str, float]:
    """Means of the losses that the log has, over the steps of the epoch."""
    means = {}
    for network in unwrapped(runner.model).trained_networks:
        for key, buffer in runner.message_hub.log_scalars.items():
            name = key.removeprefix('train/')
            if name.startswith(f'{network}_'):
                mean = float(buffer.mean(len(runner.train_dataloader)))
                if math.isfinite(mean):
                    means[name] = mean
    return means


def _relative(path: str | None) -> str | None:
    """The path relative to the current folder, if it is inside of it."""
    if path is None:
        return None
    try:
        return str(Path(path).resolve().relative_to(Path.cwd()))
    except ValueError:
        return path
