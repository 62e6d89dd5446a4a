"""The frozen teacher, whatever it is made of."""
from tadfkd.teachers.base_teacher import BaseTeacher
from tadfkd.teachers.mmpretrain import MMPretrainTeacher
from tadfkd.teachers.module import ModuleTeacher, TorchScriptTeacher
from tadfkd.teachers.torchvision import TorchvisionTeacher

__all__ = [
    'BaseTeacher', 'MMPretrainTeacher', 'ModuleTeacher', 'TorchScriptTeacher',
    'TorchvisionTeacher'
]
