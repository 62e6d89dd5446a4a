"""DAFL: the class prior, and one joint step on the same images."""
import copy

import equations
import pytest
import torch
from algorithm_helpers import (CONDITIONAL, make_algorithm, one_iteration,
                               optimisers)


@pytest.mark.parametrize(
    'changes, weights',
    [
        (dict(), (0.05, 5.0, 0.01)),
        # Images that are wanted of a class are judged by it.
        (dict(generator=CONDITIONAL), (0.05, 5.0, 0.01)),
    ])
def test_both_networks_minimise_the_papers_sums(
        changes: dict, weights: tuple[float, float, float]) -> None:
    model = make_algorithm(
        'DAFL', selector=dict(type='KeepEvery', n=2), **changes)
    seen = one_iteration(model)
    selected_BCHW = seen.made[0][::2]
    [student] = seen.of('student')
    assert student.images_BCHW.equal(selected_BCHW)
    labels_B = seen.labels()[::2] if 'generator' in changes else None
    network = model.teacher.network
    seen.assert_losses(
        generator=equations.class_prior(network, selected_BCHW, *weights,
                                        labels_B),
        student=dict(
            logits=equations.kl(student.logits_BK,
                                equations.logits(network, selected_BCHW))))
    assert model.counters.images_selected == 4


def test_the_joint_step_takes_the_gradients_of_one_backward_pass() -> None:
    model = make_algorithm('DAFL')
    twin, before = copy.deepcopy(model), copy.deepcopy(model)
    seen = one_iteration(model, optimisers(model, lr=1.0))

    # The paper's sum, from the twin's networks.
    images_BCHW = twin.generator(seen.latents()[0])
    features: list[torch.Tensor] = []
    twin.teacher.network.head.fc.register_forward_pre_hook(
        lambda _, inputs: features.append(inputs[0]))
    x = (255 * images_BCHW - 127.5) / 63.75
    log_BK = twin.teacher.network(x, mode='tensor').log_softmax(1)
    mean_K = log_BK.exp().mean(0)
    student_BK = twin.student(x.detach(), mode='tensor').log_softmax(1)
    kept_BK = log_BK.detach()
    total = (-0.05 * log_BK.max(1).values.mean() + 5 *
             (mean_K * mean_K.log10()).sum() -
             0.01 * features[0].abs().mean() +
             (kept_BK.exp() * (kept_BK - student_BK)).sum(1).mean())
    total.backward()
    for network in ('generator', 'student'):
        old, new = getattr(before, network), getattr(model, network)
        for name, parameter in getattr(twin, network).named_parameters():
            change = old.get_parameter(name) - new.get_parameter(name)
            # At the kinks of the networks round-off decides.
            difference = (change - parameter.grad).norm()
            assert difference < 0.01 * parameter.grad.norm() + 1e-5, name
