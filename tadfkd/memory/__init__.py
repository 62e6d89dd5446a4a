"""Where generated samples wait or are kept."""
from tadfkd.memory.clean_queue import CleanQueue

__all__ = ['CleanQueue']
