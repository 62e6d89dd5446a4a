"""How good are teacher and student, with data and without?"""
from tadfkd.evaluation.result_page import result_page
from tadfkd.evaluation.synthetic_metrics import (SyntheticMetrics,
                                                 measure_synthetic)
from tadfkd.evaluation.teacher_accuracy import teacher_metrics
from tadfkd.evaluation.teacher_inspection import (calibrate_batch_norm,
                                                  first_images,
                                                  inspect_teacher, try_steps)
from tadfkd.evaluation.teacher_report import (TeacherReport, teacher_page,
                                              teacher_rows)

__all__ = [
    'SyntheticMetrics', 'TeacherReport', 'calibrate_batch_norm',
    'first_images', 'inspect_teacher', 'measure_synthetic', 'result_page',
    'teacher_metrics', 'teacher_page', 'teacher_rows', 'try_steps'
]
