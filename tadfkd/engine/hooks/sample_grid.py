"""Pictures of generated images."""
import io
from pathlib import Path

import numpy as np
import torch
from mmengine.dist import is_main_process, master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from tadfkd.classifiers.configs import bare_type, class_names_of
from tadfkd.distributed.wrapper import unwrapped
from tadfkd.engine.hooks.looking import never_ends_a_run
from tadfkd.errors import require_at_least
from tadfkd.registry import HOOKS
from tadfkd.report.sample_figure import MAX_CLASSES, MAX_ROWS, draw_samples
from tadfkd.utils.files import remove_leftovers, write_atomically


@HOOKS.register_module()
class SampleGridHook(Hook):
    """Writes a figure of generated images, sorted by the teacher's class.

    The images are always from the same latents. Those that the selector of
    the run refuses are pale and have a frame, see
    :func:`~tadfkd.report.sample_figure.draw_samples`. The first epoch has a
    figure, and so has the last. The newest is ``samples.png`` in the work
    directory. Each is also kept as ``samples/epoch_N.png`` and sent to the
    visualizer. A figure that cannot be made is a warning.

    Args:
        interval: Epochs between figures, >= 1.
        num_images: Images per figure, >= 1.
        columns: Images per row, >= 1.
        min_side: Small images are enlarged by a whole number until their
            shorter side has this many pixels.
    """

    def __init__(self,
                 interval: int = 10,
                 num_images: int = 128,
                 columns: int = 16,
                 min_side: int = 64) -> None:
        for name, value in dict(
                interval=interval,
                num_images=num_images,
                columns=columns,
                min_side=min_side).items():
            require_at_least('the SampleGridHook', name, value, 1)
        self.interval = interval
        self.num_images = num_images
        self.columns = columns
        self.min_side = min_side

    @master_only
    def before_train(self, runner: Runner) -> None:
        """Remove temporary files of a run that was killed."""
        remove_leftovers(Path(runner.work_dir) / 'samples')

    @never_ends_a_run
    def after_train_epoch(self, runner: Runner) -> None:
        """Write the figure of this epoch, if it is due."""
        if runner.epoch == 0 or self.every_n_epochs(runner, self.interval):
            self._write(runner, runner.epoch + 1)

    @never_ends_a_run
    def after_train(self, runner: Runner) -> None:
        """Write the figure of the last epoch, whenever a run ends."""
        if runner.epoch > 1 and runner.epoch % self.interval:
            self._write(runner, runner.epoch)

    @torch.no_grad()
    def _write(self, runner: Runner, epoch: int) -> None:
        model = unwrapped(runner.model)
        images_BCHW = model.synthesize(self.num_images, purpose='sample_grid')
        output = model.teacher(images_BCHW)
        selector = model.candidates.selector
        # All processes select, because some selectors compare their images.
        kept_B = selector.select(output)
        if not is_main_process():
            return
        logits_BK = output.logits_BK.float()
        finite_B = logits_BK.isfinite().all(1) & images_BCHW.flatten(
            1).isfinite().all(1)
        confidence_M, classes_M = logits_BK[finite_B].softmax(1).max(1)
        kept_M = kept_B[finite_B]
        pixels_MHWC = (images_BCHW[finite_B].clamp(0, 1) * 255).round().byte()
        names = class_names_of(runner.cfg) or []
        if len(names) != model.num_classes:
            names = [*map(str, range(model.num_classes))]
        config = Path(runner.cfg.filename or 'no config file').stem
        caption = [
            f'{bare_type(runner.cfg.model)}, {config}, seed {runner.seed}, '
            f'epoch {epoch}',
            _counts(model.num_classes,
                    classes_M.unique().numel(), len(kept_M), self.num_images),
            f'The selector ({type(selector).__name__}) keeps '
            f'{100 * kept_B.float().mean():.0f} % of them; those that it '
            'refuses are pale and framed.'
            if selector.reads_teacher else 'The run selects no images.'
        ]
        picture = draw_samples(
            pixels_MHWC.permute(0, 2, 3, 1).cpu().numpy(), classes_M.tolist(),
            confidence_M.tolist(), kept_M.tolist(), names, caption,
            self.columns, self.min_side)
        content = io.BytesIO()
        picture.save(content, 'PNG')
        work_dir = Path(runner.work_dir)
        for path in (work_dir / 'samples' / f'epoch_{epoch}.png',
                     work_dir / 'samples.png'):
            write_atomically(path, content.getvalue())
        runner.visualizer.add_image('samples', np.asarray(picture), step=epoch)


def _counts(num_classes: int, num_found: int, num_finite: int,
            num_images: int) -> str:
    text = f'{num_images} generated images, by the teacher: {num_found} of ' \
        f'{num_classes} classes'
    by_chance = num_classes * (1 - (1 - 1 / num_classes)**num_images)
    if num_classes > MAX_ROWS:
        text += f' (about {by_chance:.0f} if all classes are equally ' \
            'frequent)'
    if num_classes > MAX_CLASSES:
        text += f', of which the first {MAX_CLASSES} are shown'
    if num_finite < num_images:
        text += f'; {num_images - num_finite} images are not finite'
    return text + '. Numbers are its largest probability.'
