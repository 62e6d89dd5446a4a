"""oneDNN, by which torch convolves on a CPU."""
import os


def keep_compiled_kernels() -> None:
    """Let oneDNN keep 16384 of the kernels that it compiles, instead of 1024.

    It compiles one for each shape, and a selector keeps another number of
    images in each step, so that a step finds hardly any of its kernels among
    so few. Results are the same, and so is the memory (docs/performance.md).

    Call it before the first convolution, at which oneDNN reads it; a value in
    the environment is left.
    """
    os.environ.setdefault('ONEDNN_PRIMITIVE_CACHE_CAPACITY', '16384')
