"""How close training is to the arithmetic that it needs."""
from tadfkd.benchmarks.bare_loop import BareLoop
from tadfkd.benchmarks.floor import Floor
from tadfkd.benchmarks.profiling import profile_training
from tadfkd.benchmarks.scale import (benchmark_memory, benchmark_scale,
                                     memory_table, scale_table)
from tadfkd.benchmarks.step import benchmark_step
from tadfkd.benchmarks.step_report import step_table

__all__ = [
    'BareLoop', 'Floor', 'benchmark_memory', 'benchmark_scale',
    'benchmark_step', 'memory_table', 'profile_training', 'scale_table',
    'step_table'
]
