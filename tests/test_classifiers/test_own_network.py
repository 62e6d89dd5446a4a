"""Networks of a user's own, and how a config holds them."""
import copy
from typing import Any

import pytest
import torch
from mmengine.config import Config
from tiny_networks import convolutional
from torch import nn

from tadfkd.classifiers.own_network import (LiveObject, ModuleClassifier,
                                            build_own_network, factory_of,
                                            name_of)
from tadfkd.classifiers.student import build_student
from tadfkd.errors import UserError


def test_a_config_with_an_object_can_be_copied_written_and_read() -> None:
    network = convolutional()
    config = Config(dict(factory=factory_of(network), mean=[1.0]))
    shared = copy.deepcopy(config).factory
    assert isinstance(shared, LiveObject) and shared.value is network
    read = Config.fromstring(config.pretty_text, '.py')
    assert read.to_dict() == dict(factory='<live object>', mean=[1.0])
    with pytest.raises(
            UserError,
            match=r'student of this config was an object of another process: '
            r'give it again by tadfkd.distill\(student=...\)'):
        build_own_network(read.factory, None, 'student')


def test_only_what_another_process_can_import_is_named() -> None:
    assert factory_of(convolutional) == 'tiny_networks:convolutional'
    assert factory_of(nn.Linear) == 'torch.nn.modules.linear:Linear'

    class Inner(nn.Identity):
        pass

    for source in (Inner, lambda: Inner(), Inner()):
        assert factory_of(source) == '<live object>'
    assert name_of(factory_of(Inner)) == name_of(Inner()) == 'Inner'


@pytest.mark.parametrize('student', [
    convolutional,
    convolutional(), lambda: convolutional(), 'tiny_networks:convolutional',
    dict(
        type='tadfkd.ModuleClassifier',
        factory=convolutional,
        arguments=dict(num_classes=5),
        mean=[0.5] * 3,
        std=[0.5] * 3,
        value_range=1.0)
])
def test_any_network_is_a_student(student: Any) -> None:
    from tadfkd.classifiers.configs import as_own_network
    network, adapter, part = build_student(
        as_own_network(student) or student, 5)
    assert isinstance(network, ModuleClassifier) and part is None
    images_BCHW = torch.rand(2, 3, 9, 9)
    inner = network.eval().network
    torch.testing.assert_close(
        network(adapter(images_BCHW), mode='tensor'),
        inner(2 * images_BCHW - 1))
    if isinstance(student, nn.Module):
        # The user's object is copied.
        assert inner is not student
        torch.testing.assert_close(inner[0].weight, student[0].weight)


def test_a_student_of_torchvision_gets_the_classes_of_the_teacher() -> None:
    network, _, _ = build_student('torchvision::squeezenet1_1', 7)
    assert network.network.classifier[1].out_channels == 7


def fails() -> nn.Module:
    """A factory of a user who made a mistake."""
    raise KeyError('weights')


@pytest.mark.parametrize('factory, arguments, message', [
    (fails, None,
     "factory fails of the student failed \\(KeyError: 'weights'"),
    (dict, None, 'must return a torch.nn.Module, got dict'),
    (nn.Identity(), dict(a=1), 'is a network already, but arguments are set'),
    ('no.such:net', None, 'cannot be imported .*set model.student.factory'),
    (3, None, "must be 'package.module:function', got 3"),
])
def test_a_mistake_is_named(factory: Any, arguments: dict | None,
                            message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_own_network(factory, arguments, 'student')
