"""Find the weights of a network in a checkpoint and load all of them."""
import itertools
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from tadfkd.checkpoints.dry_load import DryLoad
from tadfkd.errors import UserError

# Entries of a checkpoint that hold weights, in the order of preference: the
# averaged (EMA) weights of timm, torchvision and others, then the raw ones.
_AVERAGED = ('state_dict_ema', 'model_ema', 'ema_state_dict', 'ema')
_TRAINED = ('state_dict', 'model_state_dict', 'model', 'net', 'network',
            'teacher')
# In a file with several networks, the first of these is preferred.
_NETWORKS = ('teacher', 'student')
# Prefixes that wrappers and parent modules add to the names of weights.
_WRAPPERS = (*_NETWORKS, 'module', '_orig_mod', 'model', 'network', 'net')
# Update counters of torch's and mmengine's averaged models.
_COUNTERS = {'n_averaged', 'steps'}
# Buffers that FLOPs counters leave in every layer.
_COUNTED = ('total_ops', 'total_params')


def find_weights(content: Mapping,
                 own: Collection[str],
                 source: str,
                 key: str | None = None) -> tuple[dict[str, Tensor], str]:
    """Find a network's state dict in a checkpoint.

    If the file has both, averaged (EMA) weights are preferred.

    Args:
        content: The result of
            :func:`tadfkd.checkpoints.reading.read_checkpoint`.
        own: The names in the network's state dict. They decide which prefix
            of the names in the file belongs to a wrapper.
        source: Where the checkpoint is from, for messages.
        key: The entry of ``content`` to take; None searches for it.

    Returns:
        The weights, with the network's names where the network has them; and
        a phrase that describes them, such as ``"'state_dict_ema', without
        the prefix 'module.'"``.

    Raises:
        UserError: If there is no entry ``key``, or no weights are found.
    """
    weights, entry = _entry(content, source, key)
    _require_named_tensors(weights, source)
    weights, left_out = _without_bookkeeping(weights, own)
    prefix, added = _best_prefix(weights, own, source)
    # If the file holds several networks, those beside this one are left out.
    network = next((part for part in prefix.split('.') if part in _NETWORKS),
                   '')
    outer = prefix.partition(f'{network}.')[0]
    renamed = {}
    for name, value in weights.items():
        if name.startswith(prefix):
            renamed[added + name[len(prefix):]] = value
        elif network:
            left_out.add(name.removeprefix(outer).partition('.')[0])
    for name in weights.keys() - _COUNTERS if prefix and not network else ():
        if not name.startswith(prefix):
            if name in renamed:
                raise UserError(f'{source} has {name} with and without the '
                                f"prefix '{prefix}': keep one of the two")
            renamed[name] = weights[name]
    if prefix:
        entry += f", without the prefix '{prefix}'"
    if added:
        entry += f", with the prefix '{added}'"
    if left_out:
        entry += f', leaving out {_listed(left_out)}'
    return renamed, entry


def class_count(weights: Mapping[str, Tensor],
                own: Mapping[str, Tensor]) -> int | None:
    """The class count of weights that fit a network but for its last layer.

    Args:
        weights: From a checkpoint, with the network's names.
        own: The state dict of the network.

    Returns:
        The count, or None if the weights fit or differ in more than it.

    Example:
        >>> class_count({'fc.bias': torch.zeros(5)},
        ...             {'fc.bias': torch.zeros(1000)})
        5
    """
    others = [(value.shape, own[name].shape)
              for name, value in weights.items()
              if name in own and value.shape != own[name].shape]
    counts = {found[0] if found else None for found, _ in others}
    fits = all(found[1:] == expected[1:] for found, expected in others)
    return counts.pop() if fits and len(counts) == 1 else None


def _without_bookkeeping(
        weights: Mapping[str, Tensor],
        own: Collection[str]) -> tuple[dict[str, Tensor], set[str]]:
    """The weights without what other tools keep beside them.

    These are the counts of FLOPs counters, and copies of all weights under
    ``ema_`` names, by which old mmcls keeps a second set of weights.

    Returns:
        The rest, and patterns of what was left out.
    """
    copies = {f'ema_{name.replace(".", "_")}' for name in own}
    kept, left_out = {}, set()
    for name, value in weights.items():
        last = name.rpartition('.')[2]
        if last in _COUNTED and name not in own:
            left_out.add(f'*{last}')
        elif name in copies:
            left_out.add('ema_*')
        else:
            kept[name] = value
    return kept, left_out


def _listed(names: Collection[Any]) -> str:
    """At most 8 of the names, for a message."""
    shown = sorted(map(str, names))
    more = f' and {len(shown) - 8} more' if len(shown) > 8 else ''
    return ', '.join(shown[:8]) + more


def _entry(content: Mapping, source: str,
           key: str | None) -> tuple[Mapping[str, Any], str]:
    """The state dict in a checkpoint, and a phrase for its place there."""
    match = _search(content) if key is None else None
    if match is not None:
        path = [f"'{name}'" for name in reversed(match[1])]
        return match[0], ' in '.join(path) or 'the file itself'
    entries = {
        name: match
        for name, entry in content.items()
        if (match := _search(entry)) is not None
    }
    if key is None:
        what = f'{_listed(content) or "nothing"}: '
        if entries:
            what = f'{_listed(entries)}: set model.teacher.checkpoint_key ' \
                'to one of these entries, or '
        raise UserError(f'{source} has no entry with weights of a known name, '
                        f'but has {what}put the state dict under '
                        '"state_dict"')
    if key not in entries:
        raise UserError(f'{source} has no weights under {key!r}: name one of '
                        f'its entries with weights, {_listed(entries)}'
                        if entries else f'{source} has no entries with '
                        f'weights, so there is no {key!r}: leave the key out')
    path = [f"'{name}'" for name in (*reversed(entries[key][1]), key)]
    return entries[key][0], ' in '.join(path)


def _search(content: Any, depth: int = 2) -> tuple[Mapping, list[str]] | None:
    """A state dict in ``content``, and the keys that lead to it."""
    if isinstance(content, nn.Module):
        # Only a trusted file can hold a module.
        content = content.state_dict()
    if not isinstance(content, Mapping):
        return None
    names: tuple[str, ...] = _AVERAGED + _TRAINED
    if 'state_dict' in content and _was_saved_by_mmengine(content):
        # mmengine's EMAHook saves the averaged weights as state_dict, and the
        # raw ones as ema_state_dict.
        names = _TRAINED
    for name in names if depth else ():
        match = _search(content.get(name), depth - 1)
        if match is not None:
            return match[0], [name, *match[1]]
    if any(isinstance(value, Tensor) for value in content.values()):
        return content, []
    return None


def _was_saved_by_mmengine(content: Mapping) -> bool:
    meta = content.get('meta')
    return 'message_hub' in content or (isinstance(meta, Mapping)
                                        and 'mmengine_version' in meta)


def _best_prefix(weights: Mapping[str, Any], own: Collection[str],
                 source: str) -> tuple[str, str]:
    """The prefix to remove from the names in the file, and the one to add.

    The choice gives the most names of ``own``; of equal choices, the one that
    changes least. A prefix that no known wrapper adds is removed only if it
    gives all names.

    Raises:
        UserError: If several unknown prefixes give all names.
    """
    prefixes = ['']
    for name in weights:
        prefix = ''
        # Wrappers are nested a few levels deep at most.
        for part in name.split('.', 5)[:4]:
            if part not in _WRAPPERS:
                break
            prefix += f'{part}.'
            if prefix not in prefixes:
                prefixes.append(prefix)
    prefixes.sort(key=lambda prefix:
                  [_WRAPPERS.index(part) for part in prefix.split('.')[:-1]])
    additions = ['']
    if all(name.startswith('model.') for name in own):
        additions.append('model.')

    def covered(change: tuple[str, str]) -> int:
        prefix, added = change
        return sum(
            name.startswith(added) and prefix + name[len(added):] in weights
            for name in own)

    best = max(itertools.product(prefixes, additions), key=covered)
    # Old files lack batch norm's num_batches_tracked.
    needed = [name for name in own if not name.endswith('_tracked')]
    if not needed or all(best[0] + name.removeprefix(best[1]) in weights
                         for name in needed):
        return best
    first = needed[0]
    unknown = [
        prefix for prefix in (name.removesuffix(first) for name in weights
                              if name.endswith(f'.{first}'))
        if all(prefix + name in weights for name in needed)
    ]
    if len(unknown) > 1:
        raise UserError(f'{source} has the weights of several networks, under '
                        f'{_listed(unknown)}: save only one of them')
    return (unknown[0], '') if unknown else best


def _require_named_tensors(weights: Mapping[Any, Any], source: str) -> None:
    if not all(
            isinstance(name, str) and isinstance(value, Tensor)
            and value.layout is torch.strided and not value.is_quantized
            and not value.is_meta for name, value in weights.items()):
        raise UserError(f'{source} does not hold named tensors only: save a '
                        'state dict, or put it under "state_dict"')


def load_weights(module: nn.Module,
                 weights: Mapping[str, Tensor],
                 source: str,
                 allow_missing: Sequence[str] = (),
                 opt_in: str | None = None) -> None:
    """Load a state dict whose every key must fit.

    The module's own load hooks apply: mmpretrain's networks rename and drop
    weights of older versions. Hooks that compute weights are refused, for
    example those that resize a position embedding.

    Args:
        module: The network.
        weights: A plain state dict.
        source: Where the weights are from, for messages.
        allow_missing: Patterns such as ``'head.*'`` of names that may be
            missing from ``weights`` or unexpected in it.
        opt_in: The setting that has ``allow_missing``, for messages; None if
            there is no such setting.

    Raises:
        UserError: If a key is missing, unexpected, or of another shape or
            dtype, or if a pattern matches nothing. ``module`` does not change
            then.
    """
    _require_named_tensors(weights, source)
    if isinstance(allow_missing, str):
        raise UserError('allow_missing must be a list of patterns, got '
                        f'{allow_missing!r}: write [{allow_missing!r}]')
    own = module.state_dict()
    dry = DryLoad(module, weights, source)
    known = dry.expected.keys() | own.keys() | weights.keys()
    for pattern in allow_missing:
        if not any(fnmatchcase(name, pattern) for name in known):
            raise UserError(f'allow_missing has {pattern!r}, which matches no '
                            f'weight of the network or of {source}: correct '
                            'or remove it')
    # A network computes some buffers itself and ignores them even in its own
    # state dict. Old files lack batch norm's num_batches_tracked, which has
    # no effect where the momentum is fixed.
    needed = dry.parameters | DryLoad(module, own, source).would_load.keys()
    problems = {
        'missing': [
            name for name in needed - dry.would_load.keys()
            if not name.endswith('num_batches_tracked')
        ],
        'unexpected':
        dry.unexpected
    }
    problems = {
        problem: [
            name for name in names if not any(
                fnmatchcase(name, pattern) for pattern in allow_missing)
        ]
        for problem, names in problems.items()
    }
    problems['of another shape'] = [
        *dry.shape_mismatches(),
        *(f'{name}: {list(weights[name].shape)} instead of '
          f'{list(own[name].shape)}'
          for name in own.keys() & weights.keys() - dry.would_load.keys()
          if weights[name].shape != own[name].shape)
    ]
    problems['of another dtype'] = dry.dtype_mismatches()
    listed = '; '.join(f'{len(names)} {problem} ({_listed(names)})'
                       for problem, names in problems.items() if names)
    if not listed:
        module.load_state_dict(weights, strict=False)
        return
    remedy = 'name the checkpoint of this architecture and class count'
    if [problem for problem, names in problems.items()
            if names] == ['unexpected']:
        # All that the network needs is there.
        patterns = sorted(
            {_pattern(name, own)
             for name in problems['unexpected']})
        remedy = 'save it without them' if opt_in is None else \
            f'set {opt_in}={patterns} to leave them out'
    raise UserError(f'{source} does not fit the network: of '
                    f'{len(dry.expected)} tensors, {listed}: {remedy}')


def _pattern(name: str, own: Collection[str]) -> str:
    """A pattern of the part of a weight, if the network has no such part."""
    part, dot, _ = name.partition('.')
    is_foreign = not any(other.startswith(f'{part}.') for other in own)
    return f'{part}.*' if dot and is_foreign else name
