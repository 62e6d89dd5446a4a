"""Which values flow between the components? Typed dataclasses."""
from tadfkd.structures.batch import BNStatistics, SyntheticBatch, TeacherOutput
from tadfkd.structures.counters import Counters, Updates

__all__ = [
    'BNStatistics', 'Counters', 'SyntheticBatch', 'TeacherOutput', 'Updates'
]
