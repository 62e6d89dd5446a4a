"""What all tests share."""
import pytest
import torch


@pytest.fixture(autouse=True)
def two_threads_and_a_seed() -> None:
    """Two cores are what a continuous-integration machine has."""
    torch.set_num_threads(2)
    torch.manual_seed(0)
