"""Generators that are told which class to make."""
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tadfkd.errors import UserError
from tadfkd.generators import (ConditionalGenerator, LabelEmbeddingGenerator,
                               UpsamplingGenerator)
from tadfkd.registry import MODELS

COMMON = dict(latent_size=6, image_size=8, image_channels=1, width=3)
K = 4


@pytest.fixture
def make() -> Callable[..., LabelEmbeddingGenerator]:
    """A label-embedding generator of four classes."""

    def make(**changes: Any) -> LabelEmbeddingGenerator:
        return MODELS.build(
            dict(
                type='LabelEmbeddingGenerator',
                num_classes=K,
                embedding_size=7,
                **COMMON) | changes)

    return make


@pytest.mark.parametrize('scale', [1.0, 0.25])
def test_the_vector_of_the_class_is_added_to_the_latent(scale: float) -> None:
    conditional = MODELS.build(
        dict(
            type='ConditionalGenerator',
            num_classes=K,
            label_scale=scale,
            **COMMON)).eval()
    assert isinstance(conditional, ConditionalGenerator)
    plain = UpsamplingGenerator(**COMMON).eval()
    missing, unexpected = plain.load_state_dict(
        conditional.state_dict(), strict=False)
    assert not missing and unexpected == ['embedding.weight']
    latents_BZ, labels = torch.randn(5, 6), [3, 0, 2, 2, 1]
    moved_BZ = torch.stack([
        latent_Z + scale * conditional.embedding.weight[label]
        for latent_Z, label in zip(latents_BZ, labels)
    ])
    images_BCHW = conditional(latents_BZ, torch.tensor(labels))
    assert torch.equal(images_BCHW, plain(moved_BZ))
    assert not torch.equal(images_BCHW, plain(latents_BZ))


def by_hand(generator: LabelEmbeddingGenerator,
            labels: list[int]) -> np.ndarray:
    """What each sample's noisy layer gives, sample by sample."""
    embedding_KE = generator.embedding_KE.double().numpy()
    layers_GEZ = generator.noisy_GEZ.detach().double().numpy()
    rows_BE = embedding_KE[labels]
    normalised_BE = (rows_BE -
                     rows_BE.mean(0)) / np.sqrt(rows_BE.var(0) + 1e-5)
    latents = []
    for i, row_E in enumerate(normalised_BE):
        # The first K samples, the next K, and on from the first layer.
        layer = (i // K) % len(layers_GEZ)
        latents.append([
            sum(row_E[e] * layers_GEZ[layer, e, z] for e in range(len(row_E)))
            for z in range(layers_GEZ.shape[2])
        ])
    return np.array(latents)


@pytest.mark.parametrize('num_layers', [1, 2, 3])
@pytest.mark.parametrize('batch', [2, 4, 7, 8, 12, 30])
def test_every_k_samples_go_through_a_noisy_layer_of_their_own(
        make: Callable, num_layers: int, batch: int) -> None:
    generator = make(num_noisy_layers=num_layers)
    seen: list[Tensor] = []
    generator.project.register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0]))
    labels_B = torch.randint(K, (batch, ))
    images_BCHW = generator(None, labels_B)
    assert images_BCHW.shape == (batch, 1, 8, 8)
    np.testing.assert_allclose(
        seen[0].detach(),
        by_hand(generator, labels_B.tolist()),
        rtol=1e-4,
        atol=1e-4)


def test_the_vectors_of_classes_are_orthonormal_and_always_the_same(
        make: Callable) -> None:
    rows_KE = make().embedding_KE
    np.testing.assert_allclose(
        rows_KE.numpy() @ rows_KE.numpy().T, np.eye(K), atol=1e-6)
    torch.manual_seed(5)
    again = make()
    assert torch.equal(again.embedding_KE, rows_KE)
    # No parameter, but part of what a checkpoint restores.
    assert 'embedding_KE' not in dict(again.named_parameters())
    assert 'embedding_KE' in again.state_dict()


def test_vectors_of_a_file_are_taken_as_they_are(make: Callable,
                                                 tmp_path: Path) -> None:
    rows_KE = torch.randn(K, 3, dtype=torch.float64)
    path = tmp_path / 'embedding.pth'
    torch.save(dict(embedding=rows_KE), path)
    generator = make(embedding_file=str(path), embedding_size=None)
    assert torch.equal(generator.embedding_KE, rows_KE.float())
    assert generator.noisy_GEZ.shape == (1, 3, 6)
    assert generator(None, torch.tensor([0, 3])).shape == (2, 1, 8, 8)


@pytest.mark.parametrize('content, got', [
    (dict(embedding=torch.zeros(3, 5)), r'\(3, 5\)'),
    (dict(embedding=[1.0, 2.0]), 'list'),
    (dict(rows=torch.zeros(4, 5)), 'NoneType'),
])
def test_a_file_without_one_row_per_class_is_refused(make: Callable,
                                                     tmp_path: Path,
                                                     content: dict,
                                                     got: str) -> None:
    path = tmp_path / 'embedding.pth'
    torch.save(content, path)
    with pytest.raises(
            UserError,
            match=f'embedding.pth must hold .*4 rows.*got {got}.*'
            'model.generator.embedding_file'):
        make(embedding_file=str(path))


@pytest.mark.parametrize(
    'options', [
        dict(embedding_size=3),
        dict(embedding_size=None),
        dict(num_noisy_layers=0),
    ],
    ids=str)
def test_a_bad_option_names_the_field_to_change(make: Callable,
                                                options: dict) -> None:
    name, = options
    with pytest.raises(UserError, match=f'set model.generator.{name}'):
        make(**options)
