"""Counters survive a checkpoint."""
from tadfkd.structures import Counters, Updates


def test_counts_come_back_into_the_object_that_others_hold() -> None:
    counters = Counters(images_generated=40)
    counters.steps['student'] = 3
    counters.updates['student'].applied += 2
    counters.updates['generator'].skipped_in_a_row = 1
    restored = Counters()
    holder = restored
    restored.load_state_dict(counters.state_dict())
    assert holder == counters and holder.updates['student'] == Updates(2)
    # The state is a copy, and a network without updates starts at 0.
    counters.updates['student'].applied += 1
    assert restored.updates['student'].applied == 2
    assert (restored.student_steps, restored.generator_steps) == (3, 0)
    assert restored.updates['replay'] == Updates()
