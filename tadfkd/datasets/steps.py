"""Training iterates over steps, not over data."""
from collections.abc import Sized

from torch.utils.data import Dataset, SequentialSampler

from tadfkd.errors import require_at_least
from tadfkd.registry import DATA_SAMPLERS, DATASETS


@DATASETS.register_module()
class StepDataset(Dataset):
    """One item per iteration of an epoch; an item is its own number.

    mmengine's loops need a dataloader; data-free training has nothing to
    load.

    Args:
        num_steps: Iterations per epoch, >= 1.
    """

    #: mmengine's loops read this attribute.
    metainfo: dict = {}

    def __init__(self, num_steps: int) -> None:
        require_at_least('train_dataloader.dataset', 'num_steps', num_steps, 1)
        self.num_steps = num_steps

    def __len__(self) -> int:
        return self.num_steps

    def __getitem__(self, index: int) -> int:
        if not 0 <= index < self.num_steps:
            raise IndexError(index)
        return index


@DATA_SAMPLERS.register_module()
class StepSampler(SequentialSampler):
    """Every step, in order, in each process.

    mmengine's samplers would split the steps among the processes.
    """

    def __init__(self, dataset: Sized, seed: int | None = None) -> None:
        super().__init__(dataset)
