"""How does the student leave, and how is it loaded and used again?"""
from tadfkd.export.hub import push_student, require_hub
from tadfkd.export.prediction import Prediction, predict
from tadfkd.export.student_module import Student, load_student
from tadfkd.export.writing import FORMAT_NAMES, write_student

__all__ = [
    'FORMAT_NAMES', 'Prediction', 'Student', 'load_student', 'predict',
    'push_student', 'require_hub', 'write_student'
]
