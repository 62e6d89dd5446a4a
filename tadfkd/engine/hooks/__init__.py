"""Hooks of a run."""
from tadfkd.engine.hooks.checkpoint import CheckpointHook
from tadfkd.engine.hooks.health import HealthHook
from tadfkd.engine.hooks.report import ReportHook
from tadfkd.engine.hooks.sample_grid import SampleGridHook
from tadfkd.engine.hooks.student_files import StudentFilesHook
from tadfkd.engine.hooks.summary import SummaryHook
from tadfkd.engine.hooks.teacher_sanity import TeacherSanityHook
from tadfkd.engine.hooks.training_state import TrainingStateHook

__all__ = [
    'CheckpointHook', 'HealthHook', 'ReportHook', 'SampleGridHook',
    'StudentFilesHook', 'SummaryHook', 'TeacherSanityHook', 'TrainingStateHook'
]
