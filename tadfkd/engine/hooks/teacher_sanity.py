"""An unusable teacher ends the run before training begins."""
import itertools

from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.runner import Runner

from tadfkd.distributed.wrapper import unwrapped
from tadfkd.errors import UserError, require_at_least
from tadfkd.evaluation import TeacherReport, inspect_teacher, teacher_metrics
from tadfkd.registry import HOOKS


@HOOKS.register_module()
class TeacherSanityHook(Hook):
    """Checks the teacher at the start of a run, as ``tadfkd check`` does.

    The teacher classifies noise, generated images, and the evaluation data if
    the run has any. The model does not change.

    Args:
        min_top1: Accuracy in percent that the teacher must reach on the
            evaluation data, in [0, 100]. None requires twice the accuracy of
            guessing, which finds a wrong checkpoint or normalisation.
        num_images: Number of noise images and of generated images, >= 2.
        accuracy: Name of the validation metric, in percent.
    """

    def __init__(self,
                 min_top1: float | None = None,
                 num_images: int = 64,
                 accuracy: str = 'accuracy/top1') -> None:
        if min_top1 is not None:
            require_at_least('the TeacherSanityHook', 'min_top1', min_top1,
                             0.0)
        require_at_least('the TeacherSanityHook', 'num_images', num_images, 2)
        self.min_top1 = min_top1
        self.num_images = num_images
        self.accuracy = accuracy
        #: On the teacher of the run, once it has begun.
        self.report: TeacherReport | None = None

    def before_train(self, runner: Runner) -> None:
        """Log the verdict.

        Raises:
            UserError: If the teacher cannot be used.
        """
        model = unwrapped(runner.model)
        report = self.report = inspect_teacher(model, self.num_images)
        if runner.val_loop is not None:
            metrics = teacher_metrics(model, runner.val_dataloader,
                                      runner.val_loop.evaluator)
            runner.message_hub.update_info('teacher_metrics', metrics)
            if self.accuracy in metrics:
                report.judge_accuracy(metrics[self.accuracy], self.min_top1)
        runner.logger.info(f'teacher: {report.verdict}')
        for note in report.notes:
            runner.logger.info(f'teacher: note: {note}')
        # All processes end together, even if only one has found a problem.
        problems = list(
            dict.fromkeys(
                itertools.chain(*all_gather_object(report.problems))))
        if problems:
            raise UserError(
                f'the teacher is unusable: {"; ".join(problems)}: see '
                '`tadfkd check`, or take the TeacherSanityHook out '
                'of default_hooks')
