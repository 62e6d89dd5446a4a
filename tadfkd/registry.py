"""Registries of tadfkd, one per role, each a child of mmengine's root.

A component is registered where it lives (``@MODELS.register_module()``) and
named in configs by its class name. Names of other OpenMMLab packages need
their scope, as in ``mmpretrain.Accuracy``.
"""
from mmengine import registry as roots
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import Registry

from tadfkd.utils.startup import check_dependencies

check_dependencies()

# This makes `tadfkd::` a prefix of configs for mmengine. mmengine looks for a
# distribution of the name on the right. There is none, so mmengine takes the
# folder of this module, which is right for an editable installation too.
MODULE2PACKAGE['tadfkd'] = 'tadfkd.version'


def _child(parent: Registry, *rooms: str) -> Registry:
    """A registry of scope ``tadfkd`` that imports ``rooms`` at a look-up."""
    return Registry(
        parent.name,
        parent=parent,
        scope='tadfkd',
        locations=[f'tadfkd.{room}' for room in rooms])


#: Algorithms, backbones, students of a user's own, generators, teachers,
#: losses, replay and augmentations.
MODELS = _child(roots.MODELS, 'algorithms', 'backbones',
                'classifiers.own_network', 'generators', 'teachers', 'losses',
                'memory', 'augmentations')
#: Selectors: teacher output -> boolean mask. A registry of its own, because
#: every algorithm takes one.
SELECTORS = Registry(
    'selector', scope='tadfkd', locations=['tadfkd.selectors'])
DATASETS = _child(roots.DATASETS, 'datasets')
DATA_SAMPLERS = _child(roots.DATA_SAMPLERS, 'datasets')
HOOKS = _child(roots.HOOKS, 'engine.hooks')
OPTIM_WRAPPERS = _child(roots.OPTIM_WRAPPERS, 'engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(roots.OPTIM_WRAPPER_CONSTRUCTORS, 'engine')

# tadfkd adds nothing to the roles below. They exist because mmengine warns at
# every look-up under a default scope that has no registry for the role.
EVALUATORS = _child(roots.EVALUATOR, 'evaluation')
LOG_PROCESSORS = _child(roots.LOG_PROCESSORS, 'engine')
LOOPS = _child(roots.LOOPS, 'engine')
METRICS = _child(roots.METRICS, 'evaluation')
MODEL_WRAPPERS = _child(roots.MODEL_WRAPPERS, 'distributed')
OPTIMIZERS = _child(roots.OPTIMIZERS, 'engine')
PARAM_SCHEDULERS = _child(roots.PARAM_SCHEDULERS, 'engine')
RUNNERS = _child(roots.RUNNERS, 'engine')
TRANSFORMS = _child(roots.TRANSFORMS, 'datasets')
VISBACKENDS = _child(roots.VISBACKENDS, 'engine')
VISUALIZERS = _child(roots.VISUALIZERS, 'engine')
WEIGHT_INITIALIZERS = _child(roots.WEIGHT_INITIALIZERS, 'engine')
