"""Which values flow between the components? Typed dataclasses."""
from tadfkd.structures.batch import SyntheticBatch
from tadfkd.structures.counters import Counters, Updates
from tadfkd.structures.teacher_output import BNStatistics, TeacherOutput

__all__ = [
    'BNStatistics', 'Counters', 'SyntheticBatch', 'TeacherOutput', 'Updates'
]
