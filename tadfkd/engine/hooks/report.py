"""What a person can look at after each epoch: the report and the curves."""
import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from tadfkd.classifiers.configs import class_names_of
from tadfkd.classifiers.own_network import MARK
from tadfkd.distributed.wrapper import unwrapped
from tadfkd.engine.hooks.looking import never_ends_a_run
from tadfkd.engine.hooks.summary import SummaryHook
from tadfkd.engine.hooks.teacher_sanity import TeacherSanityHook
from tadfkd.errors import require_at_least
from tadfkd.evaluation import teacher_rows
from tadfkd.registry import HOOKS
from tadfkd.report.curves import draw_curves
from tadfkd.report.page import write_report
from tadfkd.utils.files import write_json


@HOOKS.register_module()
class ReportHook(Hook):
    """Writes ``report.html`` and ``curves.png`` after each epoch.

    The page needs no other file and no network. What only a run knows is kept
    in ``report.json``, so that ``tadfkd report`` can write the page again. A
    page that cannot be made is a warning.

    Args:
        interval: Epochs between pages, >= 1; the end of the run has one too.
    """

    # At the end, all other files of the run are there.
    priority = 'VERY_LOW'

    def __init__(self, interval: int = 1) -> None:
        require_at_least('the ReportHook', 'interval', interval, 1)
        self.interval = interval
        self._settings: list[tuple[str, str, str]] | None = None

    @master_only
    @never_ends_a_run
    def before_train(self, runner: Runner) -> None:
        """Compare the config with its base, once."""
        self._settings = changed_settings(runner.cfg)

    def before_train_epoch(self, runner: Runner) -> None:
        """Write the page of the epoch before, which is validated now."""
        if runner.epoch % self.interval == 0:
            self.write(runner)

    def after_train(self, runner: Runner) -> None:
        """Write the page of the whole run."""
        self.write(runner)

    @master_only
    @never_ends_a_run
    def write(self, runner: Runner) -> None:
        """Write the page and the curves of the epochs so far, if any."""
        summary, sanity, health = (
            next((hook
                  for hook in runner.hooks if type(hook).__name__ == name),
                 None)
            for name in ('SummaryHook', 'TeacherSanityHook', 'HealthHook'))
        if not isinstance(summary, SummaryHook) or summary.confusion is None:
            return
        teacher = sanity.report if isinstance(sanity,
                                              TeacherSanityHook) else None
        names = class_names_of(runner.cfg) or []
        num_classes = unwrapped(runner.model).num_classes
        work_dir = Path(runner.work_dir)
        write_json(
            work_dir / 'report.json',
            dict(
                teacher=teacher and dict(
                    rows=teacher_rows(teacher),
                    notes=teacher.notes,
                    verdict=teacher.verdict),
                settings=self._settings,
                thresholds=vars(health.thresholds) if health else {},
                confusion=summary.confusion,
                class_names=names if len(names) == num_classes else None,
                has_objects=MARK in str(runner.cfg.to_dict())))
        draw_curves(summary.history, work_dir / 'curves.png')
        write_report(work_dir)


def changed_settings(config: Config) -> list[tuple[str, str, str]] | None:
    """The settings of a run that its base does not have.

    The base is what the config file inherits, or the file itself if it
    inherits nothing.

    Returns:
        Dotted key, value in the base and value in the run, sorted; a value
        that is not there is empty. None without a config file.
    """
    # The room of this module is below that of the other.
    from tadfkd.apis.config import COPIES
    file = Path(config.filename or '')
    if not file.is_file():
        return None
    bases = _bases(file)
    base = Config.fromstring(f'_base_ = {bases!r}', '.py') if bases \
        else Config.fromfile(file)
    from_base = dict(_leaves(base.to_dict()))
    # The file itself copies variables of its base.
    for variable, where in COPIES.items():
        if isinstance(base.get(variable), dict):
            from_base = dict(_leaves(base[variable].to_dict(),
                                     where)) | from_base
    of_run = dict(_leaves(config.to_dict()))
    return [(key, from_base.get(key, ''), of_run.get(key, ''))
            for key in sorted(from_base.keys() | of_run.keys())
            if from_base.get(key) != of_run.get(key)]


def _bases(file: Path) -> list[str]:
    """What a config file inherits, as names that hold in any folder."""
    for node in ast.parse(file.read_text('utf-8')).body:
        if isinstance(node, ast.Assign) and \
                ast.unparse(node.targets[0]) == '_base_':
            names = ast.literal_eval(node.value)
            return [
                name if '::' in name else str((file.parent / name).resolve())
                for name in ([names] if isinstance(names, str) else names)
            ]
    return []


def _leaves(part: dict, path: str = '') -> Iterator[tuple[str, str]]:
    """Dotted keys and texts of the values that a run reads."""
    known = {*inspect.signature(Runner).parameters, 'model_wrapper_cfg'}
    for key, value in part.items():
        # Other variables of a config are copied to one of these.
        if key == '_scope_' or not path and (
                key not in known or key in ('work_dir', 'launcher', 'resume')):
            continue
        where = f'{path}.{key}' if path else str(key)
        if isinstance(value, dict) and value:
            yield from _leaves(value, where)
        else:
            yield where, _text(value)


def _text(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f'{text[:300]} …'
