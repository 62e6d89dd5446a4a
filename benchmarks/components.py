"""What a config can name, from the code itself."""
import inspect
import re
from collections import defaultdict
from collections.abc import Callable, Iterator

from mmengine.registry import Registry

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
        if one.__module__.startswith('tadfkd.'):
            yield one


def _first_sentence(component: Callable) -> str:
    """Without the markup of Sphinx."""
    text = ' '.join((inspect.getdoc(component) or '').split())
    sentence = re.split(r'(?<=[.:])\s', text)[0].rstrip(':')
    return re.sub(r':\w+:`[~.\w]*?(\w+)`', r'`\1`',
                  sentence).replace('``', '`')


def _arguments(component: Callable) -> str:
    """Its own arguments, and the class from which it has more."""
    owners = [
        one for one in getattr(component, '__mro__', ())
        if '__init__' in vars(one) and one is not object
    ]
    function = vars(owners[0])['__init__'] if owners else component
    parameters = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name != 'self'
    ] if owners or not inspect.isclass(component) else []
    own = [
        f'`{parameter.name}`' if parameter.default is parameter.empty else
        f'`{parameter.name}={_in_code(parameter.default)}`'
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD,
                              parameter.KEYWORD_ONLY)
    ]
    if owners and owners[0] is not component:
        return f'those of `{owners[0].__name__}`'
    passes_on = any(parameter.kind is parameter.VAR_KEYWORD
                    for parameter in parameters)
    if passes_on and len(owners) > 1:
        own.append(f'those of `{owners[1].__name__}`')
    return ', '.join(own) or 'none'


def _in_code(value: object) -> str:
    """The value as a config has it."""
    return getattr(value, '__name__', repr(value))
