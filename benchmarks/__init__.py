"""How close training is to the arithmetic that it needs."""
from benchmarks.bare_loop import BareLoop
from benchmarks.floor import Floor
from benchmarks.profiling import profile_training
from benchmarks.scale import (benchmark_memory, benchmark_scale, memory_table,
                              scale_table)
from benchmarks.step import benchmark_step
from benchmarks.step_report import step_table

__all__ = [
    'BareLoop', 'Floor', 'benchmark_memory', 'benchmark_scale',
    'benchmark_step', 'memory_table', 'profile_training', 'scale_table',
    'step_table'
]
