"""The student in files of its own, at the end of a run."""
from pathlib import Path

from mmengine.dist import master_only
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner

from tadfkd.distributed.wrapper import unwrapped
from tadfkd.errors import UserError
from tadfkd.export import write_student
from tadfkd.registry import HOOKS


@HOOKS.register_module()
class StudentFilesHook(Hook):
    """Writes ``student/`` at the end of a finished run.

    The folder has ``model.safetensors``, ``config.json`` and ``student.pt2``,
    see :func:`tadfkd.export.write_student`. ``tadfkd export`` writes more
    formats. A student that cannot be written is logged as a warning, because
    its checkpoint is there.
    """

    @master_only
    def after_train(self, runner: Runner) -> None:
        """Write the student."""
        model = unwrapped(runner.model)
        for hook in runner.hooks:
            if isinstance(hook, EMAHook):
                # Its average was evaluated, and is what a checkpoint holds.
                model = unwrapped(hook.ema_model.module)
        folder = Path(runner.work_dir, 'student')
        try:
            problems = write_student(
                model,
                runner.cfg,
                folder,
                seed=runner.seed,
                optional=('torch.export', ))
        except UserError as error:
            problems = [str(error)]
        else:
            runner.logger.info(f'the student is in {folder}')
        for problem in problems:
            runner.logger.warning(problem)
