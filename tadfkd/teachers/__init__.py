"""How does a classifier of any source become the frozen teacher?"""
from tadfkd.teachers.base_teacher import BaseTeacher
from tadfkd.teachers.mmpretrain import MMPretrainTeacher
from tadfkd.teachers.module import ModuleTeacher, TorchScriptTeacher
from tadfkd.teachers.onnx import ONNXTeacher
from tadfkd.teachers.torchvision import TorchvisionTeacher

__all__ = [
    'BaseTeacher', 'MMPretrainTeacher', 'ModuleTeacher', 'ONNXTeacher',
    'TorchScriptTeacher', 'TorchvisionTeacher'
]
