"""The frozen teacher, whatever it is made of."""
from tadfkd.teachers.base import BaseTeacher
from tadfkd.teachers.mmpretrain import MMPretrainTeacher

__all__ = ['BaseTeacher', 'MMPretrainTeacher']
