"""What a config can name, from the code itself."""
import inspect
import re
from collections import defaultdict
from collections.abc import Callable, Iterator

from mmengine.registry import Registry
from torch.nn import Module

import tadfkd.registry

HEAD = ('component', 'what it is for', 'arguments and defaults')


def components() -> dict[str, list[tuple[str, str, str]]]:
    """All components and the classes that they extend.

    Returns:
        Rows of :data:`HEAD`, in order of names, by room of the package.
    """
    found: set[Callable] = set()
    for registry in vars(tadfkd.registry).values():
        if isinstance(registry, Registry) and registry.scope == 'tadfkd':
            registry.import_from_location()
            for component in registry.module_dict.values():
                found.update(_with_bases(component))
    rooms = defaultdict(list)
    for component in sorted(found, key=lambda each: each.__name__):
        rooms[component.__module__.split('.')[1]].append(
            (f'`{component.__name__}`', _first_sentence(component),
             _arguments(component)))
    return dict(sorted(rooms.items()))


def _with_bases(component: Callable) -> Iterator[Callable]:
    """The component and its bases, those of them that are ours."""
    for one in getattr(component, '__mro__', (component, )):
        if one.__module__.startswith('tadfkd.') and one.__name__[0] != '_':
            yield one


def _first_sentence(component: Callable) -> str:
    """Without the markup of Sphinx."""
    text = ' '.join((inspect.getdoc(component) or '').split())
    sentence = re.split(r'(?<=\.)\s|::\s', text)[0]
    return re.sub(r':\w+:`[~.\w]*?(\w+)`', r'`\1`',
                  sentence).replace('``', '`')


def _arguments(component: Callable) -> str:
    """Its own arguments, and the class from which it has more."""
    if not inspect.isclass(component):
        return ', '.join(_in_code(inspect.signature(component)))
    owner, *bases = (
        one for one in component.__mro__ if '__init__' in vars(one))
    if owner in (object, Module):
        return 'none'
    if owner is not component and owner.__name__[0] != '_':
        return _those_of(owner)
    signature = inspect.signature(owner)
    texts = _in_code(signature)
    if any(parameter.kind is parameter.VAR_KEYWORD
           for parameter in signature.parameters.values()):
        texts.append(_those_of(bases[0]))
    return ', '.join(texts) or 'none'


def _those_of(owner: type) -> str:
    library = owner.__module__.partition('.')[0]
    scope = '' if library == 'tadfkd' else f'{library}.'
    return f'those of `{scope}{owner.__name__}`'


def _in_code(signature: inspect.Signature) -> list[str]:
    """The arguments as a config has them."""
    return [
        f'`{parameter.name}`' if parameter.default is parameter.empty else
        f'`{parameter.name}={parameter.default!r}`'
        for parameter in signature.parameters.values()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD,
                              parameter.KEYWORD_ONLY)
    ]
