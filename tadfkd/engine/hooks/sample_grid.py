"""Pictures of generated images."""
import io
from pathlib import Path

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image
from torchvision.utils import make_grid

from tadfkd.distributed.wrapper import unwrapped
from tadfkd.engine.hooks.looking import never_ends_a_run
from tadfkd.errors import require_at_least
from tadfkd.registry import HOOKS
from tadfkd.utils.files import remove_leftovers, write_atomically


@HOOKS.register_module()
class SampleGridHook(Hook):
    """Writes a grid of generated images, always from the same latents.

    The newest grid is ``samples.png`` in the work directory. Each grid is also
    kept as ``samples/epoch_N.png`` and sent to the visualizer.

    Of images that are neither grey nor RGB, the first three channels are
    shown, or the first of two. A grid that cannot be made is a warning.

    Args:
        interval: Epochs between grids, >= 1; the last epoch has a grid too.
        num_images: Images per grid, >= 1.
        columns: Images per row, >= 1.
        min_side: Small images are enlarged by a whole number until their
            shorter side has this many pixels.
    """

    def __init__(self,
                 interval: int = 10,
                 num_images: int = 64,
                 columns: int = 16,
                 min_side: int = 32) -> None:
        for name, value in dict(
                interval=interval, num_images=num_images,
                columns=columns).items():
            require_at_least('the SampleGridHook', name, value, 1)
        self.interval = interval
        self.num_images = num_images
        self.columns = columns
        self.min_side = min_side

    @master_only
    def before_train(self, runner: Runner) -> None:
        """Remove temporary files of a run that was killed."""
        remove_leftovers(Path(runner.work_dir) / 'samples')

    @master_only
    @never_ends_a_run
    def after_train_epoch(self, runner: Runner) -> None:
        """Write the grid of this epoch, if it is due."""
        if self.every_n_epochs(runner, self.interval):
            self._write(runner, runner.epoch + 1)

    @master_only
    @never_ends_a_run
    def after_train(self, runner: Runner) -> None:
        """Write the grid of the last epoch, whenever a run ends."""
        if runner.epoch % self.interval:
            self._write(runner, runner.epoch)

    def _write(self, runner: Runner, epoch: int) -> None:
        images_BCHW = unwrapped(runner.model).synthesize(
            self.num_images, purpose='sample_grid')
        channels = images_BCHW.shape[1]
        images_BCHW = images_BCHW[:, :3 if channels >= 3 else 1]
        factor = max(1, self.min_side // min(images_BCHW.shape[-2:]))
        images_BCHW = images_BCHW.repeat_interleave(factor,
                                                    2).repeat_interleave(
                                                        factor, 3)
        grid = make_grid(images_BCHW, nrow=self.columns, padding=2)
        pixels_HWC = (grid.clamp(0, 1) * 255).round().byte().permute(
            1, 2, 0).cpu().numpy()

        picture = io.BytesIO()
        Image.fromarray(pixels_HWC).save(picture, 'PNG')
        work_dir = Path(runner.work_dir)
        for path in (work_dir / 'samples' / f'epoch_{epoch}.png',
                     work_dir / 'samples.png'):
            write_atomically(path, picture.getvalue())
        runner.visualizer.add_image('samples', pixels_HWC, step=epoch)
