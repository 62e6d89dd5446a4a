"""Hooks of a run."""
from tadfkd.engine.hooks.sample_grid import SampleGridHook
from tadfkd.engine.hooks.summary import SummaryHook
from tadfkd.engine.hooks.teacher_sanity import TeacherSanityHook
from tadfkd.engine.hooks.training_state import TrainingStateHook

__all__ = [
    'SampleGridHook', 'SummaryHook', 'TeacherSanityHook', 'TrainingStateHook'
]
