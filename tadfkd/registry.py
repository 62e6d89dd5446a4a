"""Registries of tadfkd, one per role, each a child of mmengine's root.

A component is registered where it lives (``@MODELS.register_module()``) and
named in configs by its class name. Names of other OpenMMLab packages need
their scope, as in ``mmpretrain.Accuracy``.
"""
from mmengine.registry import DATA_SAMPLERS as MMENGINE_DATA_SAMPLERS
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import EVALUATOR as MMENGINE_EVALUATOR
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import LOG_PROCESSORS as MMENGINE_LOG_PROCESSORS
from mmengine.registry import LOOPS as MMENGINE_LOOPS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODEL_WRAPPERS as MMENGINE_MODEL_WRAPPERS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import \
    OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import OPTIMIZERS as MMENGINE_OPTIMIZERS
from mmengine.registry import PARAM_SCHEDULERS as MMENGINE_PARAM_SCHEDULERS
from mmengine.registry import RUNNERS as MMENGINE_RUNNERS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import VISBACKENDS as MMENGINE_VISBACKENDS
from mmengine.registry import VISUALIZERS as MMENGINE_VISUALIZERS
from mmengine.registry import \
    WEIGHT_INITIALIZERS as MMENGINE_WEIGHT_INITIALIZERS
from mmengine.registry import Registry


def _child(name: str, parent: Registry | None, *rooms: str) -> Registry:
    """A registry of scope ``tadfkd`` that imports ``rooms`` at a look-up."""
    return Registry(
        name,
        parent=parent,
        scope='tadfkd',
        locations=[f'tadfkd.{room}' for room in rooms])


#: Algorithms, backbones, generators, teachers, losses, replay and
#: augmentations.
MODELS = _child('model', MMENGINE_MODELS, 'algorithms', 'backbones',
                'generators', 'teachers', 'losses', 'memory', 'augmentations')
#: Selectors: teacher output -> boolean mask. A registry of its own, because
#: every algorithm takes one.
SELECTORS = _child('selector', None, 'selectors')
DATASETS = _child('dataset', MMENGINE_DATASETS, 'datasets')
DATA_SAMPLERS = _child('data sampler', MMENGINE_DATA_SAMPLERS, 'datasets')
HOOKS = _child('hook', MMENGINE_HOOKS, 'engine.hooks')
OPTIM_WRAPPERS = _child('optim_wrapper', MMENGINE_OPTIM_WRAPPERS, 'engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child('optimizer wrapper constructor',
                                    MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS,
                                    'engine')

# tadfkd adds nothing to the roles below. They exist because mmengine warns at
# every look-up under a default scope that has no registry for the role.
EVALUATORS = _child('evaluator', MMENGINE_EVALUATOR, 'evaluation')
LOG_PROCESSORS = _child('log processor', MMENGINE_LOG_PROCESSORS, 'engine')
LOOPS = _child('loop', MMENGINE_LOOPS, 'engine')
METRICS = _child('metric', MMENGINE_METRICS, 'evaluation')
MODEL_WRAPPERS = _child('model_wrapper', MMENGINE_MODEL_WRAPPERS,
                        'distributed')
OPTIMIZERS = _child('optimizer', MMENGINE_OPTIMIZERS, 'engine')
PARAM_SCHEDULERS = _child('parameter scheduler', MMENGINE_PARAM_SCHEDULERS,
                          'engine')
RUNNERS = _child('runner', MMENGINE_RUNNERS, 'engine')
TRANSFORMS = _child('transform', MMENGINE_TRANSFORMS, 'datasets')
VISBACKENDS = _child('vis_backend', MMENGINE_VISBACKENDS, 'engine')
VISUALIZERS = _child('visualizer', MMENGINE_VISUALIZERS, 'engine')
WEIGHT_INITIALIZERS = _child('weight initializer',
                             MMENGINE_WEIGHT_INITIALIZERS, 'engine')
