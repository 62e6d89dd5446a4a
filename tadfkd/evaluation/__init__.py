"""How good teacher and student are, with data and without."""
from tadfkd.evaluation.accuracy import teacher_metrics
from tadfkd.evaluation.curves import draw_curves
from tadfkd.evaluation.synthetic import SyntheticMetrics, measure_synthetic

__all__ = [
    'SyntheticMetrics', 'draw_curves', 'measure_synthetic', 'teacher_metrics'
]
