"""Weights are found in a checkpoint, and every key of them must fit."""
import ast
import copy
from collections.abc import Sequence

import pytest
import torch
from mmpretrain.models import TimmClassifier
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from tadfkd.checkpoints.weights import find_weights, load_weights
from tadfkd.errors import UserError


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def test_all_weights_are_loaded_except_batch_norms_counter() -> None:
    source, target = network(), network()
    weights = source.state_dict()
    load_weights(target, weights, 'the checkpoint')
    assert_holds(target, weights, list(weights))
    del weights['1.num_batches_tracked']
    load_weights(network(), weights, 'the checkpoint')


@pytest.mark.parametrize(
    'remove, add, problem',
    [(['0.weight'], {}, '1 missing (0.weight)'),
     ([], dict(extra=torch.zeros(1)), '1 unexpected (extra)'),
     ([], {
         '0.weight': torch.zeros(3, 5)
     }, '1 of another shape (0.weight: [3, 5] instead of [3, 2])'),
     ([], {
         '0.weight': torch.zeros(3, 2, dtype=torch.int8)
     }, '1 of another dtype (0.weight: torch.int8 instead of '
      'torch.float32)')])
def test_what_does_not_fit_is_named_and_nothing_is_loaded(
        remove: list[str], add: dict, problem: str) -> None:
    source, target = network(), network()
    before = {key: value.clone() for key, value in target.state_dict().items()}
    weights = {
        key: value + 1
        for key, value in source.state_dict().items() if key not in remove
    }
    with pytest.raises(UserError) as caught:
        load_weights(target, weights | add, 'teacher.pth')
    message = str(caught.value)
    assert problem in message
    assert 'teacher.pth does not fit' in message and 'of 7 tensors' in message
    for key, value in target.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_excused_keys_may_be_missing_or_unexpected() -> None:
    source, target = network(), network()
    before = target[1].weight.clone()
    weights = source.state_dict() | {'head.weight': torch.zeros(1)}
    weights['1.weight'] += 1
    del weights['1.bias']
    with pytest.raises(UserError, match='1 missing .1.bias.; 1 unexpected'):
        load_weights(target, weights, 'teacher.pth', ['0.*'])
    assert torch.equal(target[1].weight, before)
    load_weights(target, weights, 'teacher.pth', ['1.b*', 'head.*'])
    assert torch.equal(target[1].weight, before + 1)


@pytest.mark.parametrize('weights', [
    torch.zeros(3, 2).to_sparse(),
    torch.zeros(3, 2, device='meta'),
    torch.zeros(1).expand(2**30, 2**10),
], ids=['sparse', 'meta', 'expanded'])  # yapf: disable
def test_tensors_without_their_numbers_are_refused(weights: Tensor) -> None:
    with pytest.raises(UserError, match='teacher.pth does not'):
        load_weights(network(),
                     network().state_dict() | {'0.weight': weights},
                     'teacher.pth')


def swin_v2(image_size: int = 32, window_size: int = 4) -> nn.Module:
    return MODELS.build(
        dict(
            type='mmpretrain.SwinTransformerV2',
            img_size=image_size,
            window_size=window_size,
            out_indices=(1, ),
            arch=dict(
                embed_dims=8,
                depths=[1, 1],
                num_heads=[1, 1],
                extra_norm_every_n_blocks=0)))


def vision_transformer(image_size: int = 8, **options: object) -> nn.Module:
    return MODELS.build(
        dict(
            type='mmpretrain.VisionTransformer',
            img_size=image_size,
            patch_size=2,
            arch=dict(
                embed_dims=8,
                num_layers=1,
                num_heads=2,
                feedforward_channels=8)) | options)


def changed(module: nn.Module) -> dict[str, Tensor]:
    """A state dict with the floating-point values of no other network."""
    return {
        name: value + 1 if value.is_floating_point() else value
        for name, value in module.state_dict().items()
    }


def assert_holds(module: nn.Module, weights: dict[str, Tensor],
                 names: Sequence[str]) -> None:
    found = module.state_dict()
    for name in names:
        assert torch.equal(found[name], weights[name]), name


def test_what_a_network_makes_anew_need_not_come_from_the_file() -> None:
    # SwinV2 takes no index tables from a file, its own included, and mmengine
    # would report them as missing.
    target = swin_v2()
    weights = changed(swin_v2())
    tables = {
        name
        for name in weights
        if name.endswith(('relative_position_index', 'relative_coords_table'))
    }
    assert tables
    parameters = [name for name, _ in target.named_parameters()]
    load_weights(target, weights, 'teacher.pth')
    assert_holds(target, weights, parameters)
    target = swin_v2()
    load_weights(target,
                 {name: weights[name]
                  for name in weights.keys() - tables}, 'teacher.pth')
    assert_holds(target, weights, parameters)
    # Any other is missed as usual.
    name = parameters[0]
    del weights[name]
    with pytest.raises(UserError, match=f'1 missing .{name}.:'):
        load_weights(target, weights, 'teacher.pth')


def test_old_names_are_loaded_as_mmpretrain_loads_them() -> None:
    config = dict(
        type='mmpretrain.SwinTransformer',
        img_size=32,
        window_size=2,
        out_indices=(1, ),
        arch=dict(embed_dims=8, depths=[1, 1], num_heads=[1, 1]))
    source, target = (
        nn.ModuleDict(dict(backbone=MODELS.build(config))) for _ in 'ab')
    weights = changed(source)
    # Of mmcls 0.x: one norm without a number, and masks of attention.
    old = {
        name.replace('backbone.norm1.', 'backbone.norm.'): value
        for name, value in weights.items()
    }
    old['backbone.stages.0.blocks.0.attn_mask'] = torch.zeros(2)
    assert old.keys() != weights.keys()
    load_weights(target, old, 'teacher.pth')
    assert_holds(target, weights, list(weights))


def test_position_embeddings_are_not_resized(
        capsys: pytest.CaptureFixture[str]) -> None:
    target = vision_transformer()
    before = copy.deepcopy(target.state_dict())
    weights = changed(vision_transformer(16))
    with pytest.raises(
            UserError,
            match=r'1 of another shape \(pos_embed: '
            r'\[1, 65, 8\] instead of \[1, 17, 8\]\)'):
        load_weights(target, weights, 'teacher.pth')
    assert_holds(target, before, list(before))
    # It has not been resized, and nothing says so.
    assert 'Resize' not in ''.join(capsys.readouterr())
    # mmpretrain by itself does, and says so in its log.
    target.load_state_dict(weights)


class Wrapped(nn.Module):
    """Holds a network as mmpretrain's wrapper of timm's networks does."""

    def __init__(self) -> None:
        super().__init__()
        self.model = network()
        self._register_state_dict_hook(
            TimmClassifier._remove_state_dict_prefix)
        self._register_load_state_dict_pre_hook(
            TimmClassifier._add_state_dict_prefix)


@pytest.mark.parametrize('prefix', ['', 'model.', 'module.model.'])
def test_a_wrapper_that_renames_all_keys_takes_the_networks_own(
        prefix: str) -> None:
    target, weights = Wrapped(), changed(network())
    content = {prefix + name: value for name, value in weights.items()}
    found, _ = find_weights(content, target.state_dict(), 'teacher.pth')
    load_weights(target, found, 'teacher.pth')
    assert_holds(target.model, weights, list(weights))
    with pytest.raises(UserError, match='1 missing .model.0.weight.'):
        del found['0.weight']
        load_weights(target, found, 'teacher.pth')


OWN = ('backbone.weight', 'head.bias')


def state_dict(prefix: str = '', value: float = 0) -> dict[str, Tensor]:
    return {prefix + name: torch.full((2, ), value) for name in OWN}


@pytest.mark.parametrize('content, phrase', [
    (state_dict('', 1), 'the file itself'),
    (dict(state_dict=state_dict('', 1), meta=dict(mmcls_version='0.23'),
          optimizer=dict(state={})), "'state_dict'"),
    (dict(model=state_dict('', 1), epoch=3), "'model'"),
    (dict(state_dict=dict(model=state_dict('', 1))),
     "'model' in 'state_dict'"),
    (dict(state_dict=state_dict(), state_dict_ema=state_dict('', 1)),
     "'state_dict_ema'"),
    (dict(model=state_dict(),
          model_ema=dict(n_averaged=torch.tensor(3)) |
          state_dict('module.', 1)),
     "'model_ema', without the prefix 'module.'"),
    (dict(state_dict=state_dict('', 1), state_dict_ema=None),
     "'state_dict'"),
    (dict(state_dict=state_dict('', 1), ema_state_dict=state_dict('module.'),
          message_hub={}), "'state_dict'"),
    (state_dict('module._orig_mod.model.', 1),
     "the file itself, without the prefix 'module._orig_mod.model.'"),
    (state_dict('student.', 1) | {'generator.0.weight': torch.zeros(2)},
     "the file itself, without the prefix 'student.', leaving out generator"),
    (state_dict('student.') | state_dict('teacher.network.', 1),
     "the file itself, without the prefix 'teacher.network.', leaving out "
     'student'),
    (dict(student=state_dict(), teacher=state_dict('', 1)), "'teacher'"),
    (state_dict('', 1) | {'backbone.total_ops': torch.zeros(1),
                          'total_params': torch.zeros(1)},
     'the file itself, leaving out *total_ops, *total_params'),
    (state_dict('', 1) | {'ema_backbone_weight': torch.zeros(2),
                          'ema_head_bias': torch.zeros(2)},
     'the file itself, leaving out ema_*'),
    (dict(state_dict=state_dict('classifier_net.', 1)),
     "'state_dict', without the prefix 'classifier_net.'"),
])  # yapf: disable
def test_weights_are_found_wherever_they_are(content: dict,
                                             phrase: str) -> None:
    found, said = find_weights(content, OWN, 'teacher.pth')
    assert said == phrase
    assert found.keys() == set(OWN)
    assert all(value.tolist() == [1, 1] for value in found.values())


def test_one_of_two_unknown_networks_is_not_guessed() -> None:
    with pytest.raises(
            UserError,
            match='weights of several networks, under first_net., second_net.'
            ': save only one of them'):
        find_weights(
            state_dict('first_net.') | state_dict('second_net.'), OWN,
            'teacher.pth')


def test_what_is_only_too_much_is_left_out_by_a_setting() -> None:
    weights = network().state_dict() | {
        'criterion.weight': torch.zeros(1),
        '0.scale': torch.zeros(1)
    }
    with pytest.raises(
            UserError,
            match=r"set model.teacher.allow_missing=\['0.scale', "
            r"'criterion.\*'\] to leave them out") as caught:
        load_weights(
            network(),
            weights,
            'teacher.pth',
            opt_in='model.teacher.allow_missing')
    allowed = ast.literal_eval(
        str(caught.value).split('allow_missing=')[1].split(' to leave')[0])
    load_weights(network(), weights, 'teacher.pth', allowed)
    # Another cause has another remedy.
    with pytest.raises(UserError, match='name the checkpoint of this arch'):
        load_weights(
            network(), {
                key: value
                for key, value in weights.items() if key != '0.weight'
            },
            'teacher.pth',
            opt_in='model.teacher.allow_missing')


def test_an_entry_is_taken_by_name() -> None:
    content = dict(
        state_dict=state_dict(), best=dict(model=state_dict('module.', 1)))
    found, said = find_weights(content, OWN, 'teacher.pth', 'best')
    assert said == "'model' in 'best', without the prefix 'module.'"
    assert found['head.bias'].tolist() == [1, 1]
    with pytest.raises(
            UserError,
            match="teacher.pth has no weights under 'ema': name one of its "
            'entries with weights, best, state_dict'):
        find_weights(content | dict(ema=0.9), OWN, 'teacher.pth', 'ema')
    with pytest.raises(UserError, match="so there is no 'ema'"):
        find_weights(state_dict(), OWN, 'teacher.pth', 'ema')
