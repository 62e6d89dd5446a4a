"""Where are generated samples kept? All of it is bounded and checkpointed."""
from tadfkd.memory.averaged_statistics import AveragedStatistics
from tadfkd.memory.class_balance import class_balanced, most_balanced
from tadfkd.memory.image_pool import ImagePool
from tadfkd.memory.lowest_loss import AtLowestLoss
from tadfkd.memory.procedural_images import ProceduralImages
from tadfkd.memory.replay import BaseReplay, BufferReplay, GenerativeReplay
from tadfkd.memory.ring_buffer import RingBuffer
from tadfkd.memory.selected_queue import SelectedQueue

__all__ = [
    'AtLowestLoss', 'AveragedStatistics', 'BaseReplay', 'BufferReplay',
    'GenerativeReplay', 'ImagePool', 'ProceduralImages', 'RingBuffer',
    'SelectedQueue', 'class_balanced', 'most_balanced'
]
