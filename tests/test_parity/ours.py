"""What our losses, generators, selectors and algorithms give.

Each callable takes the inputs of an entry and returns our values. It calls
the package's own functions, with the numbers of the shipped configs, and
computes nothing of a method by itself.
"""
from collections.abc import Callable
from typing import Any

import torch
from test_parity.harness import Inputs, Ours, gives
from test_parity.toys import (Function, Pack, Reader, Student, Wrapper,
                              algorithm, batch_norm, draws, held, linear,
                              shipped_model)
from torch import Tensor, nn

from tadfkd.algorithms.base import summed
from tadfkd.algorithms.spaceship_net import exchanged
from tadfkd.classifiers.input_adapter import InputAdapter
from tadfkd.losses import (ActivationLoss, AttentionTransferLoss,
                           BNStatisticsLoss, ClassBalanceLoss, JSLoss, KLLoss,
                           OneHotLoss, TotalVariationLoss)
from tadfkd.memory import AveragedStatistics
from tadfkd.networks.capture import read_bn_statistics, read_features
from tadfkd.registry import MODELS
from tadfkd.selectors import GMMSelector
from tadfkd.structures import SyntheticBatch, TeacherOutput

Values = dict[str, Any]
C10, C100 = 'resnet34_to_resnet18_cifar10', 'resnet34_to_resnet18_cifar100'
TINY = 'resnet34_to_resnet18_tiny_imagenet'
NO_PRIOR = dict(type='ClassPrior', one_hot=0.0, balance=0.0, activation=0.0)
SMALL_BUFFER = dict(type='BufferReplay', num_batches=1, batch_size=4)

# Parts of algorithms.


def part(leaf: str, *path: str) -> Any:
    """A loss of a shipped config, without its weight."""
    config: Any = shipped_model(leaf)
    for name in path:
        config = config[name]
    return MODELS.build(config | dict(loss_weight=1.0))


def reading(x: Inputs, **teacher: Any) -> tuple[Pack, dict[str, Any]]:
    """Images that hold all inputs of B rows, and keywords of :func:`algorithm`
    for networks that read their answers in them."""
    rows = {
        name: value
        for name, value in x.tensors().items()
        if value.is_floating_point() and not name.startswith('running')
    }
    pack = Pack(**rows)
    if 'activations' in rows:
        teacher['activations'] = 'activations'
        teacher['running'] = (x.running_mean, x.running_var)
    stages = [
        name.partition('_')[2] for name in rows if name.startswith('student_')
    ]
    teacher['maps'] = [f'teacher_{stage}' for stage in stages]
    return pack, dict(
        image_shape=pack.image_shape,
        teacher=Reader(pack, 'teacher', **teacher),
        student=Reader(
            pack, 'student', maps=[f'student_{stage}' for stage in stages]))


def generator_loss(leaf: str, **changes: Any) -> Ours:
    """The sum that a generator minimises, of all images."""

    def ours(x: Inputs) -> Tensor:
        pack, networks = reading(x)
        model = algorithm(leaf, **networks, **changes)
        return summed(model.generator_losses(SyntheticBatch(pack.images_BCHW)))

    return ours


def student_loss(leaf: str) -> Ours:
    """The sum that a student minimises."""

    def ours(x: Inputs) -> Tensor:
        pack, networks = reading(x)
        model = algorithm(leaf, **networks)
        target = TeacherOutput(model.teacher_logits(pack.images_BCHW))
        return summed(model.student_losses(pack.images_BCHW, target))

    return ours


def attention(x: Inputs, *stages: int) -> Tensor:
    """Between the maps of some stages."""
    return AttentionTransferLoss()(
        [getattr(x, f'student_{stage}') for stage in stages],
        [getattr(x, f'teacher_{stage}') for stage in stages])


def jensen_shannon(x: Inputs, **options: Any) -> Tensor:
    """With clamped probabilities."""
    loss = JSLoss(
        x.parameters['temperature'],
        clamp=(0.01, 0.99),
        swapped=True,
        **options)
    return loss(x.student, x.teacher)


def masked_kl(folder: str) -> Ours:
    """The adversarial term of a synthesis."""
    return lambda x: -part(f'{folder}/{C10}', 'adversarial_loss')(x.student, x.
                                                                  teacher)


@gives('deepinversion.bn', 'cmi.bn', 'spaceship.bn', 'tadfkd.bn')
def bn(x: Inputs) -> Tensor:
    layer = batch_norm(x.running_mean, x.running_var).double()
    return BNStatisticsLoss()([read_bn_statistics(layer, x.activations)])


gives('mmrazor.one_hot', 'datafree.one_hot')(lambda x: OneHotLoss()(x.teacher))
gives('mmrazor.balance')(lambda x: ClassBalanceLoss('10')(x.teacher))
gives('datafree.balance')(lambda x: ClassBalanceLoss()(x.teacher))
gives('mmrazor.activation')(lambda x: ActivationLoss()(x.features))
gives('mmrazor.kl_batchmean')(lambda x: KLLoss(x.parameters['tau'])
                              (x.student, x.teacher))
gives('mmrazor.kl_mean')(lambda x: x.parameters['loss_weight'] * part(
    f'zskt/{C10}', 'student_loss')(x.student, x.teacher))
gives('mmrazor.attention')(lambda x: attention(x, 1))
gives('tadfkd.tv',
      'tadfkd.l2')(lambda x: part(f'tadfkd/{C10}_released', 'image_losses',
                                  x.id.split('.')[1])(x.images))
gives('deepinversion.tv')(lambda x: TotalVariationLoss('batch')(x.images))
gives('adi.js')(lambda x: 1 - jensen_shannon(x, bounded=True))
gives('cmi.jsdiv')(jensen_shannon)
gives('cmi.masked_kl')(masked_kl('cmi'))
gives('fast.masked_kl')(masked_kl('fastdfkd'))
gives('cmi.kd')(lambda x: KLLoss(x.parameters['temperature'])
                (x.student, x.teacher))
gives('cmi.features')(
    lambda x: dict(features=read_features(nn.Conv2d(4, 1, 1), x.activations)))
gives('spaceship.kl')(lambda x: part(f'spaceshipnet/{C10}', 'student_loss')
                      (x.student, x.teacher))
gives('spaceship.cam')(
    lambda x: part(f'spaceshipnet/{C10}', 'activation_loss')
    (x.student_map, x.student_weight, x.teacher_map, x.teacher_weight))
gives('tadfkd.js.')(generator_loss(f'tadfkd/{C10}_released', bn_loss=None))
gives('tadfkd.js_tiny')(
    generator_loss(f'tadfkd/{TINY}_released', bn_loss=None))
gives('tadfkd.student_l1')(student_loss(f'tadfkd/{C10}_released'))
gives('predfkd.js', 'kakr.js')(
    generator_loss(
        f'kakr/{C10}_released', class_prior=NO_PRIOR, replay=SMALL_BUFFER))
gives('dfad.student')(student_loss(f'dfad/{C10}'))
gives('dfad.generator')(generator_loss(f'dfad/{C10}'))

# TA-DFKD.


@gives('tadfkd.js_basic')
def tadfkd_basic(x: Inputs) -> Tensor:
    released = shipped_model(f'tadfkd/{C10}_released')['adversarial_loss']
    return generator_loss(
        f'tadfkd/{C10}_basic', adversarial_loss=released, bn_loss=None)(
            x)


@gives('tadfkd.generator_loss')
def tadfkd_generator(x: Inputs) -> Values:
    candidates = SyntheticBatch(x.images)
    del x.images
    pack, networks = reading(x)
    x.images = candidates.images_BCHW
    model = algorithm(f'tadfkd/{C10}_released', **networks)
    losses = model.generator_losses(SyntheticBatch(
        pack.images_BCHW)) | model.candidate_losses(candidates)
    return dict(
        loss=summed(losses),
        adversarial=losses['adversarial'],
        **{
            name: losses[name] / x.parameters[name]
            for name in ('bn', 'l2', 'tv')
        })


@gives('tadfkd.selection')
def tadfkd_selection(x: Inputs) -> Values:

    class Recording(GMMSelector):

        def low_mean_posterior(self, values_B: Tensor,
                               weights_B: Tensor) -> Tensor:
            self.scaled_B = values_B
            self.posterior_B = super().low_mean_posterior(values_B, weights_B)
            return self.posterior_B

    selector = Recording(x.parameters['threshold'])
    mask_B = selector.select(TeacherOutput(x.teacher.detach()))
    return dict(
        scaled_loss=selector.scaled_B,
        posterior_of_low_component=selector.posterior_B,
        kept=mask_B.nonzero().squeeze(1))


@gives('tadfkd.selection.equal')
def tadfkd_equal(x: Inputs) -> Values:
    assert GMMSelector().select(TeacherOutput(x.teacher.detach())).all()
    return dict(raises='nothing')


# DAFL and ZSKT.


@gives('dafl.')
def dafl(x: Inputs) -> Values:
    setting, numbers = x.id.rpartition('.')[2], x.parameters
    pack, networks = reading(x, features='features')
    weights = {} if setting != 'mnist' else dict(
        class_prior=dict(
            type='ClassPrior',
            one_hot=numbers['oh'],
            balance=numbers['ie'],
            activation=numbers['a'],
            log_base='10'))
    model = algorithm(f'dafl/{C100 if setting == "c100" else C10}', **networks,
                      **weights)
    images, prior = pack.images_BCHW, model.class_prior
    terms = model.joint_losses(
        SyntheticBatch(images), model.teacher(images,
                                              **model.teacher_options()))
    terms['kd'] = summed(
        model.student_losses(images,
                             TeacherOutput(model.teacher_logits(images))))
    return dict(
        total=summed(terms), kd=terms['kd']) | {
            name: terms[name] / getattr(prior, name).loss_weight
            for name in ('one_hot', 'balance', 'activation')
        }


@gives('zskt.kl')
def zskt_generator(x: Inputs) -> Tensor:
    pack, networks = reading(x)
    model = algorithm(
        f'zskt/{C10}',
        attention_loss=dict(type='AttentionTransferLoss', loss_weight=0.0),
        **networks)
    return summed(
        model.joint_losses(
            SyntheticBatch(pack.images_BCHW), model.teacher(pack.images_BCHW)))


@gives('zskt.student')
def zskt_student(x: Inputs) -> Values:
    pack, networks = reading(x)
    model = algorithm(f'zskt/{C10}', **networks)
    target = model.teacher(pack.images_BCHW, **model.teacher_options())
    losses = model.student_losses(pack.images_BCHW, target.detach())
    return dict(
        loss=summed(losses),
        kl=losses['logits'],
        attention=losses['attention'])


@gives('zskt.attention')
def zskt_attention(x: Inputs) -> Values:
    return dict(loss=attention(x, 1, 2, 3)) | {
        f'stage_{stage}': attention(x, stage)
        for stage in (1, 2, 3)
    }


# DeepInversion and ADI.


@gives('deepinversion.whole', 'adi.whole')
def pixels(x: Inputs) -> Values:
    method, numbers = x.id.partition('.')[0], x.parameters
    teacher = nn.Sequential(
        batch_norm(x.running_mean, x.running_var), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), linear(x.teacher_weight))
    student = nn.Sequential(
        Function(lambda images_BCHW: images_BCHW.square().mean((2, 3))),
        linear(x.student_weight))
    # The configs have other weights, on the means of samples.
    image_losses = {
        name: dict(type=kind, over='batch', loss_weight=float(numbers[name]))
        for name, kind in dict(tv='TotalVariationLoss',
                               l2='ImageL2Loss').items()
    }
    changes = {} if method == 'deepinversion' else dict(
        adversarial_loss=dict(
            type='JSLoss',
            temperature=3.0,
            clamp=(0.01, 0.99),
            swapped=True,
            bounded=True))
    model = algorithm(
        f'{method}/{C10}',
        teacher,
        Student(student),
        x.images.shape[1:],
        generator=dict(type='PixelGenerator', batch_size=256),
        image_losses=image_losses,
        **changes)
    model.synthesis_augment = lambda images, _: images.roll((1, -2), (2, 3))
    losses = model.inversion_losses(x.images, x.labels)
    # The constant 1 of 1 - JS has no gradient and is left out there.
    return dict(
        loss=summed(losses) + len(changes),
        cross_entropy=losses['one_hot'],
        tv=losses['tv'] / numbers['tv'],
        bn=losses['bn'] / numbers['bn'])


# CMI.


def cmi(features_BF: Tensor, **changes: Any) -> Any:
    """CMI of so many features."""
    pack = Pack(logits=torch.zeros(len(features_BF), 2), features=features_BF)
    return algorithm(
        f'cmi/{C10}',
        Reader(pack, 'logits', features='features'),
        Reader(pack, 'logits'),
        pack.image_shape,
        features='penultimate',
        **changes)


@gives('cmi.infonce')
def info_nce(x: Inputs) -> Tensor:
    model = cmi(x.local)
    model.projection = nn.Sequential(
        held(x, 'w1', 'b1'), nn.ReLU(), held(x, 'w2', 'b2')).double()
    # The first 16 rows are what the released code drew from 40.
    model.bank.add(x.bank[:16 if x.id.endswith('16') else 40])
    contrastive = model.contrast(x.local, x.global_)
    return contrastive / model.contrastive_loss.loss_weight


@gives('cmi.bank_rows')
def bank_rows(x: Inputs) -> Values:
    features_BF, drawn = torch.rand(8, 3), []
    model = cmi(
        features_BF, bank_capacity=x.size, num_negatives=x.parameters['k'])

    def projection(rows_NF: Tensor) -> Tensor:
        # Local and global features, of the batch and of drawn pairs.
        drawn.append(len(rows_NF) // 2 - len(features_BF))
        return rows_NF

    model.projection = Function(projection)
    for _ in range(7):
        model.contrast(features_BF, features_BF)
        model.bank.add(features_BF.repeat(1, 2))
    return dict(rows_drawn=drawn)


@gives('cmi.reinitialisation')
def reinitialised(x: Inputs) -> Values:
    model = cmi(torch.zeros(2, 3))
    model.generator = nn.Sequential(
        nn.Linear(x.size, x.size), nn.BatchNorm2d(4096), nn.Conv2d(64, 64, 3))
    model.begin_synthesis(Wrapper())
    fully, norm, convolution = model.generator
    return dict(
        linear_std=fully.weight.std(),
        conv_std=convolution.weight.std(),
        bn_weight_mean=norm.weight.mean(),
        bn_weight_std=norm.weight.std(),
        biases=sum(layer.bias.sum() for layer in model.generator))


# Fast-DFKD.


def fast_dfkd(**changes: Any) -> Any:
    """Fast-DFKD whose teacher and student are not asked."""
    pack = Pack(logits=torch.zeros(2, 2))
    return algorithm(f'fastdfkd/{C10}', Reader(pack, 'logits'),
                     Reader(pack, 'logits'), pack.image_shape, **changes)


def bn_average(folder: str) -> Ours:
    """Four losses and the averages in between."""

    def ours(x: Inputs) -> Values:
        momentum = shipped_model(f'{folder}/{C10}')['bn_momentum']
        past, values = AveragedStatistics(momentum), {}
        layer = batch_norm(x.running_mean, x.running_var).double()
        for number in range(1, 5):
            statistics = past.average(
                [read_bn_statistics(layer, getattr(x, f'batch_{number}'))])
            values[f'loss_{number}'] = BNStatisticsLoss()(statistics)
            past.advance()
            values[f'mean_after_{number}'], values[
                f'variance_after_{number}'] = past.state_dict()['past'][0]
        return values

    return ours


gives('fast.bn_average')(bn_average('fastdfkd'))
gives('nayer.bn_average')(bn_average('nayer'))


def meta_gradient(x: Inputs,
                  meta: str,
                  gradients: list[Tensor],
                  becomes: Tensor | None = None) -> Values:
    """That of a synthesis whose losses have the given gradients, and whose
    copy may be set to a weight."""

    class Weight(nn.Module):
        """Its image is its weight."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(x.weight.detach().clone())

        def forward(self, latents_BZ: Tensor, labels_B: Tensor) -> Tensor:
            if becomes is not None:
                self.weight.data.copy_(becomes)
            return self.weight * 1

    model = fast_dfkd(meta=meta, reset_iteration=None)
    model.generator = Weight()
    model.num_generator_steps = len(gradients)
    remaining = iter(gradients)
    model.inversion_losses = lambda images, labels: dict(
        given=(images * next(remaining).detach()).sum())
    model.invert(
        torch.zeros(2, 4, requires_grad=True), torch.zeros(2),
        dict(generator=Wrapper()))
    return dict(meta_gradient=model.generator.weight.grad)


gives('fast.fomaml')(
    lambda x: meta_gradient(x, 'maml', [x.gradient_1, x.gradient_2]))
# Adam leaves weights without a gradient where they are.
gives('fast.reptile')(
    lambda x: meta_gradient(x, 'reptile', [torch.zeros(3, 4)], x.fast_weight))


@gives('fast.first_layer')
def first_layer(x: Inputs) -> Values:
    model = fast_dfkd(
        generator=dict(type='UpsamplingGenerator', latent_size=256, width=256))
    assert model.warmup_iterations == x.warmup
    network = model.bare_generator
    names = {
        'project.weight': 'l1.0.weight',
        'project.bias': 'l1.0.bias',
        'upsample.1.weight': 'conv_blocks.0.weight'
    }
    synthesis, changed = [], []
    for model.iterations in range(150):
        before = {
            name: weight.detach().clone()
            for name, weight in network.named_parameters()
            if weight.ndim == 1 or name == 'project.weight'
        }
        model.begin_synthesis(Wrapper())
        new = [
            names.get(name, name) for name, weight in before.items()
            if not weight.equal(network.get_parameter(name))
        ]
        synthesis += [model.iterations + 1] * bool(new)
        changed += new
    weight = network.upsample[1].weight.detach()
    return dict(
        synthesis=synthesis,
        parameters=changed,
        linear_weight_std=network.project.weight.std(),
        bn_weight_mean=round(float(weight.mean()), 2),
        bn_weight_std=weight.std())


# DFQ.


@gives('dfq.generator')
def dfq(x: Inputs) -> Values:
    pack, networks = reading(x, features='features')
    model = algorithm(f'dfq/{C10}', **networks)
    losses = model.generator_losses(SyntheticBatch(pack.images_BCHW))
    return losses | dict(
        loss=summed(losses),
        balance=losses['balance'] / model.class_prior.balance.loss_weight,
        activation=ActivationLoss()(x.features))


# NAYER.


def nayer(num_classes: int, pack: Pack | None = None, **networks: Any) -> Any:
    """NAYER, whose teacher and student are not asked without networks."""
    pack = pack or Pack(logits=torch.zeros(2, num_classes))
    return algorithm(
        f'nayer/{C10}',
        generator=dict(
            type='LabelEmbeddingGenerator',
            num_classes=num_classes,
            embedding_size=num_classes,
            latent_size=4,
            width=1),
        **dict(
            image_shape=pack.image_shape,
            teacher=Reader(pack, 'logits'),
            student=Reader(pack, 'logits')) | networks)


@gives('nayer.generator')
def nayer_generator(x: Inputs) -> Values:
    pack, networks = reading(x)
    model = nayer(x.teacher.shape[1], pack, **networks)
    rows = {name: getattr(x, name) for name in pack.shapes}
    model.inversion_losses(
        pack.images(**rows | dict(activations=x.past)), x.labels)
    model.past_statistics.advance()
    # An iteration is one epoch. The first epoch is number 1.
    model.iterations = x.parameters['epoch'] - 1
    losses = model.inversion_losses(pack.images_BCHW, x.labels)
    return dict(
        loss=summed(losses),
        bn=losses['bn'] / model.bn_loss.loss_weight,
        cross_entropy=losses['one_hot'] / model.one_hot_loss.loss_weight,
        adversarial=losses.get('adversarial', 0.0) /
        model.adversarial_loss.loss_weight)


@gives('nayer.labels')
def nayer_labels(x: Inputs) -> Values:
    labels_B, rounds = nayer(x.classes).synthesis_labels(x.batch), 0
    for block in labels_B.split(x.classes):
        if block.tolist() != [*range(x.classes)]:
            break
        rounds += 1
    return dict(
        least_of_a_class=int(labels_B.bincount(minlength=x.classes).min()),
        full_rounds=rounds)


@gives('nayer.loops')
def nayer_loops(x: Inputs) -> Values:
    model = nayer(2, Pack(logits=torch.zeros(2, 2)))
    model.synthesis_batch_size = 2
    model.student_step = lambda wrapper: {}
    syntheses, renewed = [0] * x.epochs, [1]

    def invert(*_: Any) -> tuple[Tensor, Values]:
        syntheses[model.iterations] += 1
        return torch.zeros(2, 1, 8, 8), {}

    model.invert = invert
    model.reinitialize = lambda _: renewed.append(model.iterations + 1)
    for _ in range(x.epochs):
        model.train_step(None, dict(generator=Wrapper(), student=Wrapper()))
    return dict(
        syntheses_in_each_epoch=syntheses, epochs_with_a_new_generator=renewed)


# PRE-DFKD and KAKR.


def flat_networks(x: Inputs) -> dict[str, Any]:
    """The networks of PRE-DFKD's and KAKR's entries."""
    return dict(
        image_shape=(3, 8, 8),
        teacher=nn.Sequential(nn.Flatten(), linear(x.teacher_hidden),
                              nn.ReLU(), linear(x.teacher_weight)),
        student=Student(
            nn.Sequential(nn.Flatten(), held(x, 'student_weight'))))


@gives('predfkd.generator')
def predfkd_generator(x: Inputs) -> Values:
    released = shipped_model(f'kakr/{C10}_released')['adversarial_loss']
    prior = dict(class_prior=NO_PRIOR) if x.id.endswith('alone') else {}
    model = algorithm(
        f'predfkd/{C10}',
        adversarial_loss=released,
        replay=SMALL_BUFFER,
        **prior,
        **flat_networks(x))
    losses = model.generator_losses(SyntheticBatch(x.images))
    return dict(loss=summed(losses), adversarial=losses['adversarial'])


def give_images(model: Any, images_BCHW: Tensor) -> None:
    """Let a student step have these new images."""
    images_BCHW = images_BCHW.detach()
    model.candidates.selected_batch = lambda size: (SyntheticBatch(
        images_BCHW), model.teacher_logits(images_BCHW))


class Encoder(nn.Module):
    """Mean and log variance, linear in the images."""

    def __init__(self, x: Inputs) -> None:
        super().__init__()
        self.mean = held(x, 'encoder_mean')
        self.log_variance = held(x, 'encoder_log_var')
        self.encoded = 0

    def forward(self, inputs_BCHW: Tensor) -> Tensor:
        self.encoded = len(inputs_BCHW)
        # The encoder is given 2x - 1.
        rows = (inputs_BCHW.flatten(1) + 1) / 2
        return torch.cat((self.mean(rows), self.log_variance(rows)), 1)


class Decoder(nn.Module):
    """Images that are linear in the latents."""

    def __init__(self, x: Inputs) -> None:
        super().__init__()
        self.layer = held(x, 'decoder')
        self.latent_size = x.decoder.shape[1]
        self.calls: list[tuple[Tensor, bool]] = []

    def forward(self, latents_BZ: Tensor) -> Tensor:
        self.calls.append((latents_BZ.detach(), self.training))
        return self.layer(latents_BZ).view(-1, 3, 8, 8)


def predfkd_with_replay(x: Inputs) -> Any:
    """PRE-DFKD whose new images are given and whose replay is linear."""
    decoder = dict(
        type='UpsamplingGenerator', latent_size=6, image_size=8, width=1)
    model = algorithm(
        f'predfkd/{C10}',
        batch_size=len(x.images),
        replay_batch_size=len(x.latents),
        num_student_steps=1,
        num_replay_steps=1,
        replay=small_replay(decoder),
        **flat_networks(x))
    autoencoder = model.replay.autoencoder
    autoencoder.encoder = Encoder(x).double()
    autoencoder.decoder = Decoder(x).double()
    give_images(model, x.images)
    model.generator_step = lambda wrapper: {}
    return model


def small_replay(decoder: dict[str, Any]) -> dict[str, Any]:
    """The shipped replay with a small autoencoder."""
    return shipped_model(f'predfkd/{C10}')['replay'] | dict(
        autoencoder=dict(
            type='VariationalAutoencoder', width=1, decoder=decoder))


def refined(x: Inputs, model: Any) -> Values:
    """The latents of the last images that were recalled."""
    calls = model.replay.autoencoder.decoder.calls
    latents_BZ, in_train_mode = [
        call for call in calls if len(call[0]) == len(x.latents)
    ][-1]
    return dict(
        refined_latents_norm=latents_BZ.norm(),
        refined_minus_drawn_first=(latents_BZ - x.latents).flatten()[:6],
        decoder_in_train_mode=in_train_mode)


@gives('predfkd.vae.first', 'predfkd.vae.later')
def autoencoder_step(x: Inputs) -> Values:
    model, later = predfkd_with_replay(x), x.id.endswith('later')
    wrappers = dict.fromkeys(model.trained_networks, Wrapper())
    with draws(model, recall=x.latents, replay=x.noise):
        for _ in range(1 + later):
            model.zero_grad()
            losses = model.train_step(None, wrappers)
    x.gradients = {
        name: x.tensors()[name].grad
        for name in ('encoder_mean', 'encoder_log_var', 'decoder')
    }
    return dict(
        loss=losses['replay_total'],
        image_l1=losses['replay_images'],
        logits_l1=losses['replay_logits'],
        divergence=losses['replay_divergence'],
        images_encoded=model.replay.autoencoder.encoder.encoded) | (
            refined(x, model) if later else {})


@gives('predfkd.student.replay')
def predfkd_student(x: Inputs) -> Values:
    model = predfkd_with_replay(x)
    with draws(model, recall=x.latents, replay=x.noise):
        losses = model.reminded_step(Wrapper())[2]
    x.gradients = dict(student_weight=x.student_weight.grad)
    left = x.decoder.grad
    return refined(x, model) | dict(
        loss=losses['total'],
        decoder_gradient_left=0.0 if left is None else left.norm())


@gives('predfkd.student.new_alone')
def predfkd_student_alone(x: Inputs) -> Tensor:
    model = predfkd_with_replay(x)
    return summed(model.student_losses(*model.student_batch()))


def replay_encoding_as(output_BF: Tensor) -> tuple[Any, list[Tensor]]:
    """A small replay whose encoder gives this output, and its inputs."""
    replay = MODELS.build(
        small_replay(
            dict(
                type='UpsamplingGenerator',
                latent_size=output_BF.shape[1] // 2,
                image_size=8,
                width=1))).double()
    inputs: list[Tensor] = []
    replay.autoencoder.encoder = Function(
        lambda inputs_BCHW: inputs.append(inputs_BCHW) or output_BF)
    return replay, inputs


@gives('predfkd.vae.kl')
def divergence(x: Inputs) -> Tensor:
    replay, _ = replay_encoding_as(torch.cat((x.mean, x.log_var), 1))
    made = replay.autoencoder(torch.zeros(8, 3, 8, 8), torch.Generator())
    return replay.divergence_weight * made.divergence


@gives('predfkd.encoder_input')
def encoder_input(x: Inputs) -> Values:
    replay, inputs = replay_encoding_as(torch.zeros(4, 12).double())
    replay.autoencoder(x.images, torch.Generator())
    seen, = inputs
    return dict(
        norm=seen.norm(),
        length_of_a_column=seen.norm(dim=2).mean(),
        first=seen.flatten()[:4])


@gives('kakr.student')
def kakr_student(x: Inputs) -> Values:
    form = '_released' if x.id.endswith('one_mean') else ''
    replayed = None if x.id.endswith('no_memory') else x.replayed.detach()
    model = algorithm(
        f'kakr/{C10}{form}', replay=SMALL_BUFFER, **flat_networks(x))
    give_images(model, x.images)
    model.replay.recall = lambda *_: replayed
    losses = model.reminded_step(Wrapper())[2]
    x.gradients = dict(student_weight=x.student_weight.grad)
    return dict(
        loss=losses['total'],
        new_at_w=losses['logits'],
        replayed_at_w_ahead=losses.get('retained'))


# SpaceshipNet.


@gives('spaceship.grad_cam')
def grad_cam(x: Inputs) -> Values:
    loss = part(f'spaceshipnet/{C10}', 'grad_cam_loss')

    def between(*stages: int) -> Tensor:
        return loss(
            *([x.tensors()[f'{network}_{kind}_{stage}'] for stage in stages]
              for network in ('student', 'teacher')
              for kind in ('map', 'grad')))

    return dict(loss=between(1, 2, 3, 4)) | {
        f'stage_{stage}': between(stage)
        for stage in (1, 2, 3, 4)
    }


def four_stages(x: Inputs, name: str) -> nn.Sequential:
    """Four convolutions and a linear layer with the weights of the entry."""
    layers: list[nn.Module] = []
    for stage in range(1, 5):
        weight = x.tensors()[f'{name}_{stage}']
        layer = nn.Conv2d(
            *reversed(weight.shape[:2]),
            kernel_size=3,
            stride=1 if stage == 1 else 2,
            padding=1,
            bias=False)
        layer.weight = nn.Parameter(weight.detach().float())
        setattr(x, f'{name}_{stage}', layer.weight)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         held(x, f'{name}_linear'))


@gives('spaceship.student')
def spaceship_student(x: Inputs) -> Values:
    model = algorithm(f'spaceshipnet/{C10}', four_stages(x, 'teacher'),
                      Student(four_stages(x, 'student')), (3, 16, 16))
    images = x.images.detach()
    losses = model.student_losses(images,
                                  model.stage_maps.of_teacher(model, images))
    return losses | dict(
        loss=summed(losses), kl=losses['logits'], cam=losses['activation'])


@gives('spaceship.exchange')
def exchange(x: Inputs) -> Values:
    own_BC = torch.zeros(x.features.shape[:2], dtype=torch.bool)
    for sample, channels in enumerate(x.parameters['own_channels']):
        own_BC[sample, channels] = True
    mixed = exchanged(x.features, own_BC)

    def equal_to(other: Tensor) -> list[list[int]]:
        return [
            same.nonzero().squeeze(1).tolist()
            for same in (mixed == other).flatten(2).all(2)
        ]

    return dict(
        channels_equal_to_own=equal_to(x.features),
        channels_equal_to_partner=equal_to(x.features.flip(0)),
        mixed_norm=mixed.norm(),
        mixed_sum=mixed.sum(),
        mixed_first=mixed[:, :, 0, 0].flatten()[:8])


# Generators.

#: By id, the folder of the config.
GENERATORS = {
    'tadfkd.network': 'tadfkd',
    'dafl.network': 'dafl',
    'dfad.network': 'dfad',
    'zskt.network': 'zskt',
    'predfkd.network': 'predfkd',
    'predfkd.memory_network': 'predfkd',
    'cmi.network': 'cmi',
    'fast.network': 'fastdfkd',
    'spaceship.network': 'spaceshipnet',
    'spaceship.features': 'spaceshipnet',
    'nayer.network': 'nayer'
}


def filled_generator(x: Inputs) -> tuple[Any, Callable[[Tensor], Tensor]]:
    """A shipped generator for smaller latents, with the entry's weights, and
    a function that gives its images as the teacher reads them. The latents,
    or NAYER's noisy layers, and the weights of the images' sum are added to
    the inputs."""
    model, for_labels = shipped_model(f'{GENERATORS[x.id]}/{C10}'), \
        x.id == 'nayer.network'
    config = model['generator'] if x.id != 'predfkd.memory_network' \
        else model['replay']['autoencoder']['decoder']
    config = config | dict(latent_size=16, image_size=x.image_size)
    if for_labels:
        config |= dict(num_noisy_layers=2, embedding_size=12)
    network = MODELS.build(config)
    g = torch.Generator().manual_seed(x.seed)

    def draw(*shape: int) -> Tensor:
        return torch.rand(shape, generator=g)

    with torch.no_grad():
        if for_labels:
            rows_KE = torch.rand(
                10, 12, generator=torch.Generator().manual_seed(999))
            network.embedding_KE.copy_((rows_KE - 0.5) * 2)
            fill(network.norm, draw)
            for noisy_EZ in network.noisy_GEZ:
                noisy_EZ.copy_((draw(*noisy_EZ.T.shape).T - 0.5) * 0.4)
        for layer in (network.project, *network.upsample,
                      *network.head.modules()):
            fill(layer, draw)
    if for_labels:
        x.noisy_layer = network.noisy_GEZ
    else:
        latents_BZ = (draw(x.batch, 16) - 0.5) * 3
        x.latents = latents_BZ.double().requires_grad_()
    x.weights = (draw(x.batch, 3, x.image_size, x.image_size) - 0.5).double()
    return network.double(), InputAdapter([127.5], [63.75]) \
        if config['head'] != 'sigmoid' else lambda images: images


def fill(layer: nn.Module, draw: Callable[..., Tensor]) -> None:
    """Give a layer the weights of the entries' recipe."""
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and layer.affine:
        layer.weight.copy_(draw(layer.num_features) + 0.5)
        layer.bias.copy_(draw(layer.num_features) - 0.5)
    elif isinstance(layer, nn.Linear | nn.Conv2d):
        spectral = getattr(layer, 'parametrizations', None)
        weight = spectral.weight.original if spectral else layer.weight
        weight.copy_((draw(*weight.shape) - 0.5) * 0.4)
        nn.init.zeros_(layer.bias)
        if spectral:
            # The singular vectors of the largest singular value.
            u, _, v = torch.linalg.svd(weight.flatten(1).double())
            spectral.weight[0]._u.copy_(u[:, 0])
            spectral.weight[0]._v.copy_(v[0])


@gives(*(id for id in GENERATORS if id != 'spaceship.features'))
def generator(x: Inputs) -> Values:
    network, as_read = filled_generator(x)
    inputs = (x.latents, ) if hasattr(x, 'latents') \
        else (None, torch.arange(10).repeat(2))
    images = as_read(network.train()(*inputs))
    weighted_sum = (images * x.weights).sum()
    if hasattr(x, 'noisy_layer'):
        # The first layer alone; ours is transposed.
        gradient_GEZ, = torch.autograd.grad(
            weighted_sum, x.noisy_layer, retain_graph=True)
        x.gradients = dict(noisy_layer=gradient_GEZ[0].T)
    later = as_read(network.eval()(*inputs))
    return dict(
        weighted_sum=weighted_sum,
        mean=images.mean(),
        norm=images.norm(),
        first=images.flatten()[:4],
        eval_norm=later.norm(),
        eval_first=later.flatten()[:4])


@gives('spaceship.features')
def features(x: Inputs) -> Values:
    network, _ = filled_generator(x)
    values: Values = {}
    with torch.no_grad():
        network.train()(x.latents)
        network.eval()
        for number, start in enumerate(network.feature_layers):
            stored = network.upsample[:start](network.project(x.latents))
            own_BC = torch.arange(stored.shape[1]) < stored.shape[1] // 2
            images = network.decode(
                exchanged(stored, own_BC.expand(len(stored), -1)), start)
            values |= {
                f'features_{number}_norm': stored.norm(),
                f'features_{number}_shape': [*stored.shape[1:]],
                f'decoded_{number}_norm': images.norm(),
                f'decoded_{number}_first': images.flatten()[:4]
            }
    return values
