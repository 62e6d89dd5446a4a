"""Build a classifier from its model dict."""
import copy

from torch import nn

from tadfkd.classifiers.configs import wrapped_library
from tadfkd.errors import UserError, reason_of
from tadfkd.utils.library_errors import registry_errors_as_user_errors


def build_classifier(model: dict, owner: str = 'the classifier') -> nn.Module:
    """Build an mmpretrain classifier, whatever the default scope is.

    Args:
        model: The model dict.
        owner: Its config path, for messages.

    Raises:
        UserError: If the model cannot be built, for example because it wraps
            a library that is not installed or does not have the model.
    """
    from mmpretrain.registry import MODELS

    # A copy, because mmpretrain's classifiers change their config.
    config = dict(copy.deepcopy(model), _scope_='mmpretrain')
    library = wrapped_library(model)
    if library == 'transformers':
        # Without it, transformers asks whether to run code of the folder.
        config['trust_remote_code'] = False
    try:
        with registry_errors_as_user_errors():
            return MODELS.build(config)
    except UserError:
        raise
    except Exception as error:
        missing = library or getattr(error, 'name', None)
        if isinstance(error,
                      ImportError) and missing in ('timm', 'transformers'):
            raise UserError(f'{model["type"]} needs {missing}: run `pip '
                            f'install "tadfkd[{missing}]"`') from error
        # A model dict of a user can raise any exception.
        name = f'the {library} model {model.get("model_name")!r}' \
            if library else owner
        raise UserError(f'{name} cannot be built ({type(error).__name__}: '
                        f'{reason_of(error)}): change its name or its '
                        'dict') from error
