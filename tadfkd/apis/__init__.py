"""What a notebook or a tool calls."""
from tadfkd.apis.config import load_config
from tadfkd.apis.runs import distill, test, train

__all__ = ['distill', 'load_config', 'test', 'train']
