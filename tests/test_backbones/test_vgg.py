"""CIFARVGG: mmpretrain's VGG with other pooling."""
import pytest
import torch
from mmpretrain.models.backbones import VGG

from tadfkd.backbones import CIFARVGG
from tadfkd.errors import UserError


def test_with_all_pooling_it_is_mmpretrains() -> None:
    theirs = VGG(11, norm_cfg=dict(type='BN'))
    ours = CIFARVGG(11, (0, 1, 2, 3, 4), norm_cfg=dict(type='BN'))
    # mmpretrain's VGG.eval returns nothing.
    theirs.eval()
    ours.eval()
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(ours(images)[0], theirs(images)[0])


def test_every_stage_pools_or_not_as_told() -> None:
    backbone = CIFARVGG(8, (0, 2), out_indices=(0, 1, 2, 3, 4))
    sizes = [out.shape[2] for out in backbone(torch.randn(1, 3, 16, 16))]
    assert sizes == [8, 8, 4, 4, 4]
    assert len(backbone.state_dict()) == 10


@pytest.mark.parametrize('options, message', [
    (dict(depth=12), 'depth must be 8 or 11 or 13 or 16 or 19, got 12'),
    (dict(depth=8, pooled_stages=(5, )), 'pooled_stages must be within 0 to'),
])
def test_networks_that_do_not_exist_are_refused(options: dict,
                                                message: str) -> None:
    with pytest.raises(UserError, match=message):
        CIFARVGG(**options)
