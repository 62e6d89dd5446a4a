"""What does the paper compute? One paper, one file."""
from tadfkd.algorithms.agnostic import AgnosticDFKD
from tadfkd.algorithms.alternating import AlternatingDFKD
from tadfkd.algorithms.base import BaseDFKD
from tadfkd.algorithms.bounds import RandomNoiseKD, VanillaKD
from tadfkd.algorithms.cmi import CMI
from tadfkd.algorithms.dafl import DAFL
from tadfkd.algorithms.deep_inversion import ADI, DeepInversion
from tadfkd.algorithms.dfad import DFAD
from tadfkd.algorithms.dfq import DFQ
from tadfkd.algorithms.fast_dfkd import FastDFKD
from tadfkd.algorithms.inversion import InversionDFKD
from tadfkd.algorithms.joint import JointDFKD
from tadfkd.algorithms.kakr import KAKR
from tadfkd.algorithms.mad import MAD
from tadfkd.algorithms.nayer import NAYER
from tadfkd.algorithms.pre_dfkd import PREDFKD
from tadfkd.algorithms.spaceship_net import SpaceshipNet
from tadfkd.algorithms.tadfkd import TADFKD
from tadfkd.algorithms.zskt import ZSKT

__all__ = [
    'ADI', 'AgnosticDFKD', 'AlternatingDFKD', 'BaseDFKD', 'CMI', 'DAFL',
    'DFAD', 'DFQ', 'DeepInversion', 'FastDFKD', 'InversionDFKD', 'JointDFKD',
    'KAKR', 'MAD', 'NAYER', 'PREDFKD', 'RandomNoiseKD', 'SpaceshipNet',
    'TADFKD', 'VanillaKD', 'ZSKT'
]
