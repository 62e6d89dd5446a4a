"""The plain script trains as the framework does."""
import pytest
import torch
from example_helpers import (assert_equal_weights, digits_algorithm,
                             plain_statistics, with_weights_of)
from torch.optim import SGD, Adam

from examples.cmi_plain import (Memory, ResNet18, make_generator,
                                make_projection, student_step, synthesis)
from tadfkd.utils.randomness import RandomStreams


def test_20_iterations_give_the_weights_of_the_framework(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('tadfkd.networks.capture.channel_statistics',
                        plain_statistics)
    # Pool and bank hold less than three syntheses, so that both run over.
    model, wrappers = digits_algorithm(
        'cmi',
        dict(
            num_generator_steps=3,
            num_student_steps=2,
            embedding_size=8,
            bank_capacity=40,
            num_negatives=6) | {'pool.capacity': 40})
    teacher = with_weights_of(model.teacher.network, ResNet18(width=4))
    teacher.eval().requires_grad_(False)
    student = with_weights_of(model.student, ResNet18(width=4))
    generator = with_weights_of(model.generator, make_generator(16, n=4))
    projection = with_weights_of(model.projection, make_projection(60, size=8))
    adam = Adam(projection.parameters(), 1e-3)
    sgd = SGD(student.parameters(), 0.1, 0.9, weight_decay=1e-4)
    pool, bank = Memory(40, 1, 16, 16), Memory(40, 120)
    owned = RandomStreams(torch.initial_seed())
    streams = {
        name: owned.get(purpose, shared=purpose == 'generator')
        for name, purpose in dict(
            latents='latents',
            labels='labels',
            generator='generator',
            local='local_augmentation',
            bank='bank',
            pool='pool').items()
    }

    for _ in range(20):
        model.train_step(None, wrappers)
        pool.add(
            synthesis(teacher, student, generator, projection, adam, bank,
                      streams, 16, 3, 6))
        for _ in range(2):
            student_step(teacher, student, sgd,
                         pool.sample(16, streams['pool']))
    assert_equal_weights(student, model.student)
    assert_equal_weights(generator, model.generator)
    assert_equal_weights(projection, model.projection)
