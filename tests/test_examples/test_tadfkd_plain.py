"""The plain script trains as the framework does."""
import pytest
import torch
from example_helpers import (assert_equal_weights, digits_algorithm,
                             plain_statistics, with_weights_of)

from examples.tadfkd_plain import (ResNet18, generator_step, make_generator,
                                   student_step)
from tadfkd.utils.randomness import RandomStreams


def test_20_iterations_give_the_weights_of_the_framework(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('tadfkd.networks.capture.channel_statistics',
                        plain_statistics)
    model, wrappers = digits_algorithm('tadfkd', dict(num_student_steps=2))
    teacher = with_weights_of(model.teacher.network, ResNet18(width=4))
    teacher.eval().requires_grad_(False)
    student = with_weights_of(model.student, ResNet18(width=4))
    generator = with_weights_of(model.generator, make_generator(16, n=4))
    sgd = torch.optim.SGD(student.parameters(), 0.1, 0.9, weight_decay=5e-4)
    adam = torch.optim.Adam(generator.parameters(), 1e-3)
    waiting = [torch.empty(0, 1, 16, 16), torch.empty(0, 10)]
    latents = RandomStreams(torch.initial_seed()).get('latents')

    def sample() -> torch.Tensor:
        return generator(torch.randn(16, 16, generator=latents))

    for _ in range(20):
        losses = model.train_step(None, wrappers)
        for _ in range(2):
            loss = student_step(teacher, student, sgd, sample, waiting, 16)
        assert torch.equal(loss, losses['student_total'])
        generator_step(teacher, student, adam, sample)
    assert_equal_weights(student, model.student)
    assert_equal_weights(generator, model.generator)
    assert model.counters.images_selected < model.counters.images_generated
