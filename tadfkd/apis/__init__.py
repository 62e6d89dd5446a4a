"""What a notebook or a tool calls."""
from tadfkd.utils.imports import modules_that_stay

with modules_that_stay():
    from tadfkd.apis.check import check_teacher
    from tadfkd.apis.comparison import compare
    from tadfkd.apis.config import load_config
    from tadfkd.apis.runs import distill, test, train
    from tadfkd.apis.zoo import check_zoo
    from tadfkd.apis.zoo_page import write_teachers_page

__all__ = [
    'check_teacher', 'check_zoo', 'compare', 'distill', 'load_config', 'test',
    'train', 'write_teachers_page'
]
