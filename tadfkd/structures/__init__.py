"""Typed values that flow between components."""
from tadfkd.structures.batch import SyntheticBatch
from tadfkd.structures.teacher_output import BNStatistics, TeacherOutput

__all__ = ['BNStatistics', 'SyntheticBatch', 'TeacherOutput']
