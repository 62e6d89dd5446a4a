"""SHIM, replaced by the checkpoints branch."""
from tadfkd.utils.checkpoint import load_weights as _load


def weights_of(content, own, source, key=None):
    return content.get('state_dict', content), "'state_dict'"


def load_weights(module, weights, source, allow_missing=()):
    _load(module, weights, source)
