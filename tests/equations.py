"""The papers' equations in NumPy, from images and the networks alone.

Nothing here goes through the losses, the teacher or the algorithms of the
package: the networks are asked directly, and normalised for by hand.
"""
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def logits(network: nn.Module, images_BCHW: Tensor) -> np.ndarray:
    """What a classifier of ``tiny_networks`` says of images in [0, 1]."""
    with torch.no_grad():
        return network(normalised(images_BCHW), mode='tensor').double().numpy()


def normalised(images_BCHW: Tensor) -> Tensor:
    """For the classifiers of ``tiny_networks``."""
    return (255 * images_BCHW.detach() - 127.5) / 63.75


def layer_inputs(network: nn.Module, images_BCHW: Tensor,
                 layers: Sequence[nn.Module]) -> list[np.ndarray]:
    """What enters each of the layers, in the order of the forward."""
    inputs: list[np.ndarray] = []
    handles = [
        layer.register_forward_pre_hook(
            lambda _, args: inputs.append(args[0].detach().double().numpy()))
        for layer in layers
    ]
    logits(network, images_BCHW)
    for handle in handles:
        handle.remove()
    return inputs


def penultimate(network: Any, images_BCHW: Tensor) -> np.ndarray:
    """The input of the last linear layer."""
    return layer_inputs(network, images_BCHW, [network.head.fc])[0]


def stage_outputs(network: Any, images_BCHW: Tensor,
                  stages: Sequence[int]) -> list[np.ndarray]:
    """What these stages of a ResNet make."""
    maps: list[np.ndarray] = []
    handles = [
        getattr(network.backbone, f'layer{stage}').register_forward_hook(
            lambda *inputs: maps.append(inputs[-1].detach().double().numpy()))
        for stage in stages
    ]
    logits(network, images_BCHW)
    for handle in handles:
        handle.remove()
    return maps


def class_prior(network: Any,
                images_BCHW: Tensor,
                one_hot: float,
                balance: float,
                activation: float,
                labels_B: Sequence[int] | None = None) -> dict[str, float]:
    """Cross-entropy, balance in decimal logarithms, and activation."""
    logits_BK = logits(network, images_BCHW)
    if labels_B is None:
        labels_B = logits_BK.argmax(1).tolist()
    mean_K = softmax(logits_BK).mean(0)
    features_BF = penultimate(network, images_BCHW)
    return dict(
        one_hot=one_hot * cross_entropy(logits_BK, labels_B),
        balance=balance * float((mean_K * np.log10(mean_K)).sum()),
        activation=-activation * float(np.abs(features_BF).mean()))


def batch_norms(network: nn.Module) -> list[Any]:
    """The layers, in the order of the forward."""
    return [
        module for module in network.modules()
        if isinstance(module, nn.BatchNorm2d)
    ]


@contextmanager
def recorded_inputs(network: nn.Module) -> Iterator[list[tuple[Any, Tensor]]]:
    """Each batch norm with its input and the graph, in the order of the
    forward."""
    inputs: list[tuple[Any, Tensor]] = []
    handles = [
        layer.register_forward_pre_hook(lambda layer, args: inputs.append(
            (layer, args[0]))) for layer in batch_norms(network)
    ]
    yield inputs
    for handle in handles:
        handle.remove()


def bn_statistics(network: nn.Module,
                  images_BCHW: Tensor) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mean and biased variance of each batch norm's input."""
    with recorded_inputs(network) as inputs:
        logits(network, images_BCHW)
    by_layer = {layer: map_.double().numpy() for layer, map_ in inputs}
    return [(by_layer[layer].mean((0, 2, 3)), by_layer[layer].var((0, 2, 3)))
            for layer in batch_norms(network)]


def bn_distance(network: nn.Module,
                statistics: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """sum_l ||mu_l - running|| + ||var_l - running||."""
    total = 0.0
    for layer, (mean_F, variance_F) in zip(batch_norms(network), statistics):
        for value_F, running_F in ((mean_F, layer.running_mean),
                                   (variance_F, layer.running_var)):
            difference_F = value_F - running_F.double().numpy()
            total += math.sqrt((difference_F**2).sum())
    return total


def softmax(logits_BK: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Row by row."""
    scaled_BK = logits_BK / temperature
    powers_BK = np.exp(scaled_BK - scaled_BK.max(1, keepdims=True))
    return powers_BK / powers_BK.sum(1, keepdims=True)


def cross_entropy(logits_BK: np.ndarray, labels_B: Sequence[int]) -> float:
    """Mean over samples."""
    rows_BK = softmax(logits_BK)
    return float(
        np.mean(
            [-math.log(row[label]) for row, label in zip(rows_BK, labels_B)]))


def kl(student_BK: np.ndarray,
       teacher_BK: np.ndarray,
       temperature: float = 1.0) -> float:
    """t^2 KL(softmax(T / t) || softmax(S / t)), mean over samples."""
    p, q = softmax(student_BK, temperature), softmax(teacher_BK, temperature)
    return float(temperature**2 * (q * np.log(q / p)).sum(1).mean())


def agreed_kl(student_BK: np.ndarray, teacher_BK: np.ndarray) -> float:
    """KL(softmax T || softmax S) of samples of one argmax, mean over all."""
    total = 0.0
    for student, teacher in zip(student_BK, teacher_BK):
        if student.argmax() == teacher.argmax():
            total += kl(student[None], teacher[None])
    return total / len(student_BK)


def js(student_BK: np.ndarray, teacher_BK: np.ndarray,
       temperature: float) -> float:
    """1/2 KL(P || M) + 1/2 KL(Q || M), mean over samples."""
    p, q = softmax(student_BK, temperature), softmax(teacher_BK, temperature)
    m = (p + q) / 2
    return float(((p * np.log(p / m) + q * np.log(q / m)).sum(1) / 2).mean())


def total_variation(x: np.ndarray) -> float:
    """Four L2 norms of differences of neighbours, mean over samples."""
    differences = (x[..., :-1] - x[..., 1:], x[..., :-1, :] - x[..., 1:, :],
                   x[..., :-1, :-1] - x[..., 1:, 1:],
                   x[..., 1:, :-1] - x[..., :-1, 1:])
    return float(
        sum(
            np.mean([np.linalg.norm(image) for image in difference])
            for difference in differences))


def info_nce(queries_BF: np.ndarray,
             keys_NF: np.ndarray,
             temperature: float,
             first: int = 0) -> float:
    """mean_i -log( exp(q_i k_{first + i} / t) / sum_j exp(q_i k_j / t) )."""
    keys_NF = keys_NF / np.linalg.norm(keys_NF, axis=1, keepdims=True)
    total = 0.0
    for index, query_F in enumerate(queries_BF):
        similarity_N = keys_NF @ (query_F / np.linalg.norm(query_F))
        powers_N = np.exp(similarity_N / temperature)
        total -= math.log(powers_N[first + index] / powers_N.sum())
    return total / len(queries_BF)


def unit(values: np.ndarray) -> np.ndarray:
    """Each sample's map scaled to length 1, flat."""
    flat = values.reshape(len(values), -1)
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


def agreeing(model: Any) -> Any:
    """The model with a student that names the teacher's class, less surely,
    if both are ``tiny_networks``."""
    model.student.load_state_dict(model.teacher.network.state_dict())
    layer = model.student.head.fc
    with torch.no_grad():
        layer.weight.mul_(0.3)
        layer.bias.mul_(0.3)
    return model
