"""Finding a network's weights in a checkpoint, and loading every one."""
import itertools
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from tadfkd.checkpoints.dry_load import DryLoad
from tadfkd.errors import UserError

# Where checkpoints have their weights, the first that is there: the averaged
# ones of timm, torchvision and others, then the ones as trained.
_AVERAGED = ('state_dict_ema', 'model_ema', 'ema_state_dict', 'ema')
_TRAINED = ('state_dict', 'model_state_dict', 'model', 'net', 'network',
            'teacher')
# Of a file with several networks, the first of these is taken that fits.
_NETWORKS = ('teacher', 'student')
# What is put before a network's names by what holds it.
_WRAPPERS = (*_NETWORKS, 'module', '_orig_mod', 'model', 'network', 'net')
# torch's and mmengine's averaged models count their updates.
_COUNTERS = {'n_averaged', 'steps'}


def weights_of(content: Mapping,
               own: Collection[str],
               source: str,
               key: str | None = None) -> tuple[dict[str, Tensor], str]:
    """Find a network's state dict in a checkpoint.

    Averaged weights go before those as trained, wherever the file has both.

    Args:
        content: What :func:`tadfkd.checkpoints.reading.read_checkpoint` gave.
        own: The names in the network's state dict, which tell what before
            the names in the file belongs to a wrapper.
        source: Where the checkpoint is from, for messages.
        key: The entry of ``content`` to take; None finds it.

    Returns:
        The weights by the network's names, as far as it has them, and a
        phrase that says which they are, such as ``"'state_dict_ema', without
        the prefix 'module.'"``.

    Raises:
        UserError: If there is no entry ``key``, or no weights are found.
    """
    weights, entry = _entry(content, source, key)
    _require_named_tensors(weights, source)
    prefix, added = _best_prefix(weights, own)
    # What the file says before the network's own wrappers, if it holds
    # several networks: the others are beside it, and are left out.
    owner = next((part for part in prefix.split('.') if part in _NETWORKS), '')
    outer = prefix.partition(f'{owner}.')[0]
    found, left_out = {}, set()
    for name, value in weights.items():
        if name.startswith(prefix):
            found[added + name[len(prefix):]] = value
        elif owner:
            left_out.add(name.removeprefix(outer).partition('.')[0])
    for name in weights.keys() - _COUNTERS if prefix and not owner else ():
        if not name.startswith(prefix):
            if name in found:
                raise UserError(f'{source} has {name} with and without the '
                                f"prefix '{prefix}': keep one of the two")
            found[name] = weights[name]
    if prefix:
        entry += f", without the prefix '{prefix}'"
    if added:
        entry += f", with the prefix '{added}'"
    if left_out:
        entry += f', leaving out {_listed(left_out)}'
    return found, entry


def _listed(names: Collection[Any]) -> str:
    """Some of the names, for a message."""
    shown = sorted(map(str, names))
    more = f' and {len(shown) - 8} more' if len(shown) > 8 else ''
    return ', '.join(shown[:8]) + more


def _entry(content: Mapping, source: str,
           key: str | None) -> tuple[Mapping[str, Any], str]:
    """The state dict in a checkpoint, and its name there."""
    found = _search(content) if key is None else None
    if found is not None:
        path = [f"'{name}'" for name in reversed(found[1])]
        return found[0], ' in '.join(path) or 'the file itself'
    entries = {
        name: found
        for name, entry in content.items()
        if (found := _search(entry)) is not None
    }
    if key is None:
        what = f'{_listed(content) or "nothing"}: '
        if entries:
            what = f'under {_listed(entries)}: set model.teacher.' \
                'checkpoint_key to the one to take, or '
        raise UserError(f'{source} holds no weights under a name that is '
                        f'known, but {what}put the state dict under '
                        '"state_dict"')
    if key not in entries:
        raise UserError(f'{source} has no weights under {key!r}: name one of '
                        f'its entries with weights, {_listed(entries)}'
                        if entries else f'{source} has no entries with '
                        f'weights, so there is no {key!r}: leave the name out')
    path = [f"'{name}'" for name in (*reversed(entries[key][1]), key)]
    return entries[key][0], ' in '.join(path)


def _search(content: Any, depth: int = 2) -> tuple[Mapping, list[str]] | None:
    """A state dict in ``content``, and the names of the entries to it."""
    if isinstance(content, nn.Module):
        # Only a trusted file holds one.
        content = content.state_dict()
    if not isinstance(content, Mapping):
        return None
    names: tuple[str, ...] = _AVERAGED + _TRAINED
    if 'state_dict' in content and _is_of_mmengine(content):
        # Its EMAHook saves the averaged weights as the state dict, and the
        # others as ema_state_dict.
        names = _TRAINED
    for name in names if depth else ():
        found = _search(content.get(name), depth - 1)
        if found is not None:
            return found[0], [name, *found[1]]
    if any(isinstance(value, Tensor) for value in content.values()):
        return content, []
    return None


def _is_of_mmengine(content: Mapping) -> bool:
    meta = content.get('meta')
    return 'message_hub' in content or (isinstance(meta, Mapping)
                                        and 'mmengine_version' in meta)


def _best_prefix(weights: Mapping[str, Any],
                 own: Collection[str]) -> tuple[str, str]:
    """What to take from the names in the file and to put before them, so
    that the most of ``own`` are there; the least change of equals."""
    prefixes = ['']
    for name in weights:
        prefix = ''
        # More than a few are no wrapper's.
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

    return max(itertools.product(prefixes, additions), key=covered)


def _require_named_tensors(weights: Mapping[Any, Any], source: str) -> None:
    if not all(
            isinstance(name, str) and isinstance(value, Tensor)
            and value.layout is torch.strided and not value.is_quantized
            and not value.is_meta for name, value in weights.items()):
        raise UserError(f'{source} holds other things than named tensors: '
                        'save a state dict, or put it under "state_dict"')


def load_weights(module: nn.Module,
                 weights: Mapping[str, Tensor],
                 source: str,
                 allow_missing: Sequence[str] = ()) -> None:
    """Load a state dict of which every key must fit.

    The module's own rules for state dicts apply, by which mmpretrain renames
    and leaves out what older versions saved; but not those that compute
    weights, such as a position embedding for another image size.

    Args:
        module: Gets the weights.
        weights: A plain state dict.
        source: Where they are from, for the message.
        allow_missing: Patterns such as ``'head.*'`` of names that may be
            missing from ``weights``, or be there in vain.

    Raises:
        UserError: If a key is missing, unexpected, or of another shape or
            kind, or a pattern matches nothing; ``module`` is unchanged then.
    """
    _require_named_tensors(weights, source)
    if isinstance(allow_missing, str):
        raise UserError('allow_missing must be a list of patterns, got '
                        f'{allow_missing!r}: write [{allow_missing!r}]')
    own = module.state_dict()
    fit = DryLoad(module, weights, source)
    known = fit.expected.keys() | own.keys() | weights.keys()
    for pattern in allow_missing:
        if not any(fnmatchcase(name, pattern) for name in known):
            raise UserError(f'allow_missing has {pattern!r}, which matches no '
                            f'weight of the network or of {source}: correct '
                            'or remove it')
    # Buffers that a network does not take from its own state dict either, it
    # makes anew. Batch norm's counter was added late to torch and steers
    # nothing where the momentum is fixed: old files may lack it.
    needed = fit.parameters | DryLoad(module, own, source).would_load.keys()
    problems = {
        'missing': [
            name for name in needed - fit.would_load.keys()
            if not name.endswith('num_batches_tracked')
        ],
        'unexpected':
        fit.unexpected
    }
    problems = {
        problem: [
            name for name in names if not any(
                fnmatchcase(name, pattern) for pattern in allow_missing)
        ]
        for problem, names in problems.items()
    }
    problems['of another shape'] = [
        *fit.of_another_shape(),
        *(f'{name}: {list(weights[name].shape)} instead of '
          f'{list(own[name].shape)}'
          for name in own.keys() & weights.keys() - fit.would_load.keys()
          if weights[name].shape != own[name].shape)
    ]
    problems['of another kind'] = fit.of_another_kind()
    listed = '; '.join(f'{len(names)} {problem} ({_listed(names)})'
                       for problem, names in problems.items() if names)
    if listed:
        raise UserError(f'{source} does not fit the network: of '
                        f'{len(fit.expected)} tensors, {listed}: name the '
                        'checkpoint of this very architecture and class '
                        'count')
    module.load_state_dict(weights, strict=False)
