"""What does a notebook or a command call?"""
from tadfkd.apis.config import load_config
from tadfkd.apis.result import Run
from tadfkd.apis.runs import distill, test, train
from tadfkd.apis.student_export import export_student
from tadfkd.apis.teacher_check import check_teacher
from tadfkd.export import load_student, predict

__all__ = [
    'Run', 'check_teacher', 'distill', 'export_student', 'load_config',
    'load_student', 'predict', 'test', 'train'
]
