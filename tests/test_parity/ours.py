"""What our losses, generators, selectors and algorithms give.

Each callable takes the inputs of an entry and returns our values. It calls
the package's own functions, with the numbers of the shipped configs, and
computes nothing of a method by itself.
"""
from typing import Any

import torch
from test_parity.harness import Entry, Inputs, gives
from test_parity.toys import (Function, Pack, Reader, Student, Wrapper,
                              algorithm, batch_norm, draws, linear,
                              shipped_model)
from torch import Tensor, nn

from tadfkd import losses as package_losses
from tadfkd.algorithms.base import summed
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


def selected(images_BCHW: Tensor, labels_B: Tensor | None = None) \
        -> SyntheticBatch:
    """All of the images, without augmentation."""
    return SyntheticBatch(images_BCHW, labels_B)


def readers(x: Inputs,
            **teacher: Any) -> tuple[Pack, dict[str, Any], nn.Module]:
    """Images that hold all inputs of B rows; keywords of :func:`algorithm`
    for networks that read their answers in them; and the teacher."""
    rows = {
        name: value
        for name, value in x.tensors().items()
        if value.is_floating_point() and not name.startswith('running')
    }
    pack = Pack(**rows)
    if 'activations' in rows:
        teacher['activations'] = 'activations'
        teacher['running'] = (x.running_mean, x.running_var)
    maps = [name.partition('_')[2] for name in rows if '_' in name]
    networks = dict(
        image_shape=pack.image_shape,
        teacher=Reader(
            pack,
            'teacher',
            maps=[f'teacher_{stage}' for stage in dict.fromkeys(maps)],
            **teacher),
        student=Reader(
            pack,
            'student',
            maps=[f'student_{stage}' for stage in dict.fromkeys(maps)]))
    return pack, networks, networks['teacher']


# TA-DFKD.


def released_tadfkd(leaf: str, x: Inputs, **changes: Any) -> Any:
    """TA-DFKD on images that hold the logits, and the images."""
    pack, networks, _ = readers(x)
    if not hasattr(x, 'activations'):
        changes['bn_loss'] = None
    model = algorithm(f'tadfkd/{leaf}_released', **networks, **changes)
    return model, pack.images_BCHW


@gives('tadfkd.js')
def tadfkd_js(x: Inputs, entry: Entry) -> Values:
    model, images = released_tadfkd(C10, x)
    return dict(loss=model.generator_losses(selected(images))['adversarial'])


@gives('tadfkd.js_tiny')
def tadfkd_js_tiny(x: Inputs, entry: Entry) -> Values:
    model, images = released_tadfkd(TINY, x)
    return dict(loss=model.generator_losses(selected(images))['adversarial'])


@gives('tadfkd.js_basic')
def tadfkd_js_basic(x: Inputs, entry: Entry) -> Values:
    pack, networks, _ = readers(x)
    released = shipped_model(f'tadfkd/{C10}_released')
    model = algorithm(
        f'tadfkd/{C10}_basic',
        adversarial_loss=released['adversarial_loss'],
        bn_loss=None,
        **networks)
    losses = model.generator_losses(selected(pack.images_BCHW))
    return dict(loss=losses['adversarial'])


@gives('tadfkd.tv', 'tadfkd.l2')
def tadfkd_image_terms(x: Inputs, entry: Entry) -> Values:
    x.teacher = x.student = torch.zeros(2, 10)
    model, _ = released_tadfkd(C10,
                               Inputs(teacher=x.teacher, student=x.student))
    name = entry.id.split('.')[1]
    weighted = model.candidate_losses(selected(x.images))[name]
    return dict(loss=weighted / entry.parameters['weight_in_use'])


@gives('tadfkd.student_l1')
def tadfkd_student(x: Inputs, entry: Entry) -> Values:
    model, images = released_tadfkd(C10, x)
    target = TeacherOutput(model.teacher_logits(images))
    return dict(loss=summed(model.student_losses(images, target)))


@gives('tadfkd.generator_loss')
def tadfkd_generator(x: Inputs, entry: Entry) -> Values:
    judged = Inputs(**{
        name: value
        for name, value in x.tensors().items() if name != 'images'
    })
    model, images = released_tadfkd(C10, judged)
    losses = model.generator_losses(selected(images)) \
        | model.candidate_losses(selected(x.images))
    return dict(
        loss=summed(losses),
        adversarial=losses['adversarial'],
        **{
            name: losses[name] / entry.parameters[name]
            for name in ('bn', 'l2', 'tv')
        })


@gives('tadfkd.selection')
def tadfkd_selection(x: Inputs, entry: Entry) -> Values:

    class Recording(GMMSelector):

        def low_mean_posterior(self, values_B: Tensor,
                               weights_B: Tensor) -> Tensor:
            self.scaled_B = values_B
            self.posterior_B = super().low_mean_posterior(values_B, weights_B)
            return self.posterior_B

    threshold = entry.parameters['threshold']
    selector = Recording(threshold)
    mask_B = selector.select(TeacherOutput(x.teacher.detach()))
    return dict(
        scaled_loss=selector.scaled_B,
        posterior_of_low_component=selector.posterior_B,
        kept=mask_B.nonzero().squeeze(1))


@gives('tadfkd.selection.equal')
def tadfkd_equal(x: Inputs, entry: Entry) -> Values:
    assert GMMSelector().select(TeacherOutput(x.teacher.detach())).all()
    return dict(raises='nothing')


# DAFL and DFAD.


@gives('dafl.')
def dafl(x: Inputs, entry: Entry) -> Values:
    setting = entry.id.rpartition('.')[2]
    pack, networks, _ = readers(x, features='features')
    weights = {} if setting != 'mnist' else dict(
        class_prior=dict(
            type='ClassPrior',
            one_hot=entry.parameters['oh'],
            balance=entry.parameters['ie'],
            activation=entry.parameters['a'],
            log_base='10'))
    model = algorithm(f'dafl/{C100 if setting == "c100" else C10}', **networks,
                      **weights)
    images, prior = pack.images_BCHW, model.class_prior
    output = model.teacher(images, **model.teacher_options())
    terms = model.joint_losses(selected(images), output)
    terms['kd'] = summed(
        model.student_losses(images,
                             TeacherOutput(model.teacher_logits(images))))
    parts = {
        name: terms[name] / getattr(prior, name).loss_weight
        for name in ('one_hot', 'balance', 'activation')
    }
    return dict(total=summed(terms), kd=terms['kd'], **parts)


@gives('dfad.student')
def dfad_student(x: Inputs, entry: Entry) -> Values:
    pack, networks, _ = readers(x)
    model = algorithm(f'dfad/{C10}', **networks)
    images = pack.images_BCHW
    target = TeacherOutput(model.teacher_logits(images))
    return dict(loss=summed(model.student_losses(images, target)))


@gives('dfad.generator')
def dfad_generator(x: Inputs, entry: Entry) -> Values:
    pack, networks, _ = readers(x)
    model = algorithm(f'dfad/{C10}', **networks)
    return dict(
        loss=summed(model.generator_losses(selected(pack.images_BCHW))))


# ZSKT.


@gives('zskt.kl')
def zskt_generator(x: Inputs, entry: Entry) -> Values:
    pack, networks, _ = readers(x)
    images = pack.images_BCHW
    model = algorithm(
        f'zskt/{C10}',
        attention_loss=dict(type='AttentionTransferLoss', loss_weight=0.0),
        **networks)
    output = model.teacher(images, **model.teacher_options())
    return dict(loss=summed(model.joint_losses(selected(images), output)))


@gives('zskt.student')
def zskt_student(x: Inputs, entry: Entry) -> Values:
    pack, networks, _ = readers(x)
    images = pack.images_BCHW
    model = algorithm(f'zskt/{C10}', **networks)
    target = model.teacher(images, **model.teacher_options()).detach()
    losses = model.student_losses(images, target)
    return dict(
        loss=summed(losses),
        kl=losses['logits'],
        attention=losses['attention'])


def attention(x: Inputs, *stages: int) -> Tensor:
    """Between the maps of some stages, without a weight."""
    return AttentionTransferLoss()(
        [getattr(x, f'student_{stage}') for stage in stages],
        [getattr(x, f'teacher_{stage}') for stage in stages])


@gives('zskt.attention')
def zskt_attention(x: Inputs, entry: Entry) -> Values:
    return dict(
        loss=attention(x, 1, 2, 3),
        **{f'stage_{stage}': attention(x, stage)
           for stage in (1, 2, 3)})


# mmrazor, a second implementation of these terms.


@gives('mmrazor.one_hot', 'datafree.one_hot')
def one_hot(x: Inputs, entry: Entry) -> Values:
    return dict(loss=OneHotLoss()(x.teacher))


@gives('mmrazor.balance')
def balance_10(x: Inputs, entry: Entry) -> Values:
    return dict(loss=ClassBalanceLoss('10')(x.teacher))


@gives('datafree.balance')
def balance(x: Inputs, entry: Entry) -> Values:
    return dict(loss=ClassBalanceLoss()(x.teacher))


@gives('mmrazor.activation')
def activation(x: Inputs, entry: Entry) -> Values:
    return dict(loss=ActivationLoss()(x.features))


@gives('mmrazor.kl_batchmean')
def kl_batchmean(x: Inputs, entry: Entry) -> Values:
    return dict(loss=KLLoss(entry.parameters['tau'])(x.student, x.teacher))


@gives('mmrazor.kl_mean')
def kl_mean(x: Inputs, entry: Entry) -> Values:
    loss = MODELS.build(
        shipped_model(f'zskt/{C10}')['student_loss']
        | dict(loss_weight=float(entry.parameters['loss_weight'])))
    return dict(loss=loss(x.student, x.teacher))


@gives('mmrazor.attention')
def attention_of_one_stage(x: Inputs, entry: Entry) -> Values:
    return dict(loss=attention(x, 1))


# DeepInversion.


@gives('deepinversion.bn', 'cmi.bn', 'spaceship.bn', 'tadfkd.bn')
def bn(x: Inputs, entry: Entry) -> Values:
    layer = batch_norm(x.running_mean, x.running_var).double()
    return dict(
        loss=BNStatisticsLoss()([read_bn_statistics(layer, x.activations)]))


@gives('deepinversion.tv')
def total_variation(x: Inputs, entry: Entry) -> Values:
    return dict(loss=TotalVariationLoss('batch')(x.images))


@gives('adi.js')
def adi_js(x: Inputs, entry: Entry) -> Values:
    loss = JSLoss(
        entry.parameters['temperature'],
        entry.parameters['reduction'],
        entry.parameters['clamp'],
        swapped=True)
    return dict(loss=1 - loss(x.student, x.teacher))


class _MeanOfSquares(nn.Module):
    """Mean over positions of the squared pixels."""

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return images_BCHW.square().mean((2, 3))


@gives('deepinversion.whole', 'adi.whole')
def pixels(x: Inputs, entry: Entry) -> Values:
    method, numbers = entry.id.partition('.')[0], entry.parameters
    teacher = nn.Sequential(
        batch_norm(x.running_mean, x.running_var), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), linear(x.teacher_weight))
    student = Student(
        nn.Sequential(_MeanOfSquares(), linear(x.student_weight)))
    changes = {} if method == 'deepinversion' else dict(
        adversarial_loss=dict(
            type='JSLoss', temperature=3.0, clamp=(0.01, 0.99), swapped=True))
    model = algorithm(
        f'{method}/{C10}',
        teacher,
        student,
        x.images.shape[1:],
        generator=dict(type='PixelGenerator', batch_size=256),
        # The configs have another weight, on the mean of samples.
        tv_loss=dict(
            type='TotalVariationLoss', over='batch',
            loss_weight=numbers['tv']),
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


@gives('cmi.masked_kl', 'fast.masked_kl')
def masked_kl(x: Inputs, entry: Entry) -> Values:
    folder = dict(cmi='cmi', fast='fastdfkd')[entry.id.partition('.')[0]]
    loss = MODELS.build(shipped_model(f'{folder}/{C10}')['adversarial_loss'])
    return dict(loss=-loss(x.student, x.teacher) / loss.loss_weight)


@gives('cmi.kd')
def kd(x: Inputs, entry: Entry) -> Values:
    loss = KLLoss(entry.parameters['temperature'])
    return dict(loss=loss(x.student, x.teacher))


@gives('cmi.jsdiv')
def jsdiv(x: Inputs, entry: Entry) -> Values:
    loss = JSLoss(
        entry.parameters['temperature'], clamp=(0.01, 0.99), swapped=True)
    return dict(loss=loss(x.student, x.teacher))


@gives('cmi.features')
def pooled(x: Inputs, entry: Entry) -> Values:
    return dict(features=read_features(nn.Conv2d(4, 1, 1), x.activations))


def cmi(pack: Pack, **changes: Any) -> Any:
    """CMI on images that hold its features."""
    return algorithm(
        f'cmi/{C10}',
        Reader(pack, 'logits', features='features'),
        Reader(pack, 'logits'),
        pack.image_shape,
        num_features=pack.shapes['features'].numel(),
        **changes)


@gives('cmi.infonce')
def info_nce(x: Inputs, entry: Entry) -> Values:
    logits = torch.zeros(len(x.local), 2)
    # The teacher reads the first features; the local view has its own there.
    pack = Pack(logits=logits, features=x.global_, other=x.local)
    model = cmi(pack, embedding_size=len(x.b2))
    local = pack.images(logits=logits, features=x.local, other=x.global_)
    model.local_augment = Function(lambda images, stream: local)
    layers = [linear(x.w1), linear(x.w2)]
    for number, (layer, bias) in enumerate(zip(layers, (x.b1, x.b2)), 1):
        layer.double().bias = nn.Parameter(bias.detach().clone())
        setattr(x, f'w{number}', layer.weight)
        setattr(x, f'b{number}', layer.bias)
    model.projection = nn.Sequential(layers[0], nn.ReLU(), layers[1])
    # The first 16 rows are what the released code drew from 40.
    drawn = 16 if entry.id.endswith('of_which_16') else len(x.bank)
    if drawn > 0:
        model.bank.add(x.bank[:drawn])
    images = pack.images_BCHW
    terms = model.extra_losses(
        selected(images), model.teacher(images, with_features=True))
    return dict(loss=terms['contrastive'] / model.contrastive_loss.loss_weight)


@gives('cmi.bank_rows')
def bank_rows(x: Inputs, entry: Entry) -> Values:
    features = torch.rand(8, 3)
    pack = Pack(logits=torch.zeros(8, 2), features=features)
    model = cmi(
        pack,
        embedding_size=2,
        bank_capacity=x.size,
        num_negatives=entry.parameters['k'])
    drawn = []

    def count(queries_BF: Tensor, keys_NF: Tensor) -> Tensor:
        drawn.append(len(keys_NF) - len(features))
        return keys_NF.sum()

    model.contrastive_loss = Function(count)
    images = pack.images_BCHW.double()
    for _ in range(7):
        model.extra_losses(
            selected(images), model.teacher(images, with_features=True))
        model.end_synthesis(selected(images), torch.zeros(8, 4))
    return dict(rows_drawn=drawn)


@gives('cmi.reinitialisation')
def reinitialised(x: Inputs, entry: Entry) -> Values:
    layers = nn.Sequential(
        nn.Linear(x.size, x.size), nn.BatchNorm2d(4096), nn.Conv2d(64, 64, 3))
    pack = Pack(logits=torch.zeros(2, 2), features=torch.zeros(2, 3))
    cmi(pack, embedding_size=2).reinitialize(layers)
    fully, norm, convolution = layers
    return dict(
        linear_std=fully.weight.std(),
        conv_std=convolution.weight.std(),
        bn_weight_mean=norm.weight.mean(),
        bn_weight_std=norm.weight.std(),
        biases=sum(layer.bias.sum() for layer in layers))


# Fast-DFKD.


def inverting(folder: str, num_classes: int = 2, **changes: Any) -> Any:
    """An algorithm of syntheses whose networks are not asked."""
    pack = Pack(logits=torch.zeros(2, num_classes))
    return algorithm(f'{folder}/{C10}', Reader(pack, 'logits'),
                     Reader(pack, 'logits'), pack.image_shape, **changes)


@gives('fast.bn_average', 'nayer.bn_average')
def averaged_statistics(x: Inputs, entry: Entry) -> Values:
    folder = dict(fast='fastdfkd', nayer='nayer')[entry.id.partition('.')[0]]
    past = AveragedStatistics(shipped_model(f'{folder}/{C10}')['bn_momentum'])
    layer = batch_norm(x.running_mean, x.running_var).double()
    values: Values = {}
    for number in range(1, 5):
        batch = getattr(x, f'batch_{number}')
        statistics = past.average([read_bn_statistics(layer, batch)])
        values[f'loss_{number}'] = BNStatisticsLoss()(statistics)
        past.advance()
        if number < 4:
            values |= dict(
                zip((f'mean_after_{number}', f'variance_after_{number}'),
                    past.state_dict()['past'][0]))
    return values


class _Weight(nn.Module):
    """Its image is its weight.

    Args:
        weight: The weight.
        becomes: What the weight is set to in a forward.
    """

    def __init__(self, weight: Tensor, becomes: Tensor | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone())
        self.becomes = becomes

    def forward(self, latents_BZ: Tensor, labels_B: Tensor) -> Tensor:
        if self.becomes is not None:
            with torch.no_grad():
                self.weight.copy_(self.becomes)
        return self.weight * 1


def meta_gradient(x: Inputs,
                  meta: str,
                  gradients: list[Tensor],
                  becomes: Tensor | None = None) -> Values:
    """That of a synthesis whose losses have the given gradients."""
    model = inverting('fastdfkd', meta=meta, reset_iteration=None)
    model.generator = _Weight(x.weight, becomes)
    model.num_generator_steps = len(gradients)
    remaining = iter(gradients)
    model.inversion_losses = lambda images, labels: dict(
        given=(images * next(remaining)).sum())
    model.invert(
        torch.zeros(2, 4, requires_grad=True), torch.zeros(2),
        dict(generator=Wrapper()))
    return dict(meta_gradient=model.generator.weight.grad)


@gives('fast.fomaml')
def fomaml(x: Inputs, entry: Entry) -> Values:
    return meta_gradient(
        x, 'maml',
        [x.gradient_1.detach(), x.gradient_2.detach()])


@gives('fast.reptile')
def reptile(x: Inputs, entry: Entry) -> Values:
    # Adam leaves weights without a gradient where they are.
    return meta_gradient(x, 'reptile', [torch.zeros(3, 4)], x.fast_weight)


@gives('fast.first_layer')
def first_layer(x: Inputs, entry: Entry) -> Values:
    model = inverting(
        'fastdfkd',
        generator=dict(type='UpsamplingGenerator', latent_size=256, width=256))
    assert model.warmup_iterations == x.warmup
    network = model.bare_generator
    names = {
        'project.weight': 'l1.0.weight',
        'project.bias': 'l1.0.bias',
        'upsample.1.weight': 'conv_blocks.0.weight'
    }

    def first_weights() -> dict[str, float]:
        return {
            name: float(weight.detach().flatten()[0])
            for name, weight in network.named_parameters()
        }

    synthesis, changed = [], []
    for model.iterations in range(150):
        before = first_weights()
        model.begin_synthesis(Wrapper())
        new = [
            name for name, value in first_weights().items()
            if value != before[name]
        ]
        if new:
            synthesis.append(model.iterations + 1)
            changed += [names.get(name, name) for name in new]
    norm = network.upsample[1]
    return dict(
        synthesis=synthesis,
        parameters=changed,
        linear_weight_std=network.project.weight.std(),
        bn_weight_mean=round(float(norm.weight.detach().mean()), 2),
        bn_weight_std=norm.weight.std())


# DFQ.


@gives('dfq.generator')
def dfq(x: Inputs, entry: Entry) -> Values:
    pack, networks, _ = readers(x, features='features')
    model = algorithm(f'dfq/{C10}', **networks)
    losses = model.generator_losses(selected(pack.images_BCHW))
    return dict(
        loss=summed(losses),
        bn=losses['bn'],
        one_hot=losses['one_hot'],
        adversarial=losses['adversarial'],
        balance=losses['balance'] / model.class_prior.balance.loss_weight,
        activation=ActivationLoss()(x.features))


# NAYER.


def nayer(pack: Pack, num_classes: int, **networks: Any) -> Any:
    """NAYER on images that hold its logits."""
    networks.setdefault('teacher', Reader(pack, 'logits'))
    networks.setdefault('student', Reader(pack, 'logits'))
    return algorithm(
        f'nayer/{C10}',
        image_shape=pack.image_shape,
        generator=dict(
            type='LabelEmbeddingGenerator',
            num_classes=num_classes,
            num_noisy_layers=1,
            embedding_size=num_classes,
            latent_size=4,
            width=1),
        **networks)


@gives('nayer.generator')
def nayer_generator(x: Inputs, entry: Entry) -> Values:
    pack, networks, _ = readers(x)
    del networks['image_shape']
    model = nayer(pack, x.teacher.shape[1], **networks)
    rows = {name: getattr(x, name) for name in pack.shapes}
    model.inversion_losses(
        pack.images(**rows | dict(activations=x.past)), x.labels)
    model.past_statistics.advance()
    # An iteration is one epoch. The first epoch is number 1.
    model.iterations = entry.parameters['epoch'] - 1
    losses = model.inversion_losses(pack.images_BCHW, x.labels)
    return dict(
        loss=summed(losses),
        bn=losses['bn'] / model.bn_loss.loss_weight,
        cross_entropy=losses['one_hot'] / model.one_hot_loss.loss_weight,
        adversarial=losses.get('adversarial', 0.0) /
        model.adversarial_loss.loss_weight)


def recorded_syntheses(model: Any) -> list[Tensor]:
    """The labels of each later synthesis, which makes black images."""
    labels: list[Tensor] = []

    def invert(latents_BZ: Tensor, labels_B: Tensor,
               optim_wrapper: Any) -> tuple[Tensor, dict]:
        labels.append(labels_B)
        return torch.zeros(
            len(labels_B), model.generator.image_channels,
            *model.generator.image_size), {}

    model.invert = invert
    return labels


@gives('nayer.labels')
def nayer_labels(x: Inputs, entry: Entry) -> Values:
    model = nayer(Pack(logits=torch.zeros(2, x.classes)), x.classes)
    model.synthesis_batch_size = x.batch
    made = recorded_syntheses(model)
    model.synthesis(dict(generator=Wrapper()))
    labels_B, rounds = made[0], 0
    for block in labels_B.split(x.classes):
        if block.tolist() != [*range(x.classes)]:
            break
        rounds += 1
    return dict(
        least_of_a_class=int(labels_B.bincount(minlength=x.classes).min()),
        full_rounds=rounds)


@gives('nayer.loops')
def nayer_loops(x: Inputs, entry: Entry) -> Values:
    model = nayer(Pack(logits=torch.zeros(2, 2)), 2)
    model.synthesis_batch_size = 2
    model.student_step = lambda wrapper: {}
    made, syntheses, renewed = recorded_syntheses(model), [], [1]
    for epoch in range(1, x.epochs + 1):
        model.reinitialize = lambda *_, epoch=epoch: renewed.append(epoch)
        model.train_step(None, dict(generator=Wrapper(), student=Wrapper()))
        syntheses.append(len(made) - sum(syntheses))
    return dict(
        syntheses_in_each_epoch=syntheses, epochs_with_a_new_generator=renewed)


# PRE-DFKD and KAKR.

RELEASED_JS = dict(
    type='JSLoss',
    temperature=3.0,
    reduction='mean',
    clamp=(0.01, 0.99),
    swapped=True)
NO_PRIOR = dict(type='ClassPrior', one_hot=0.0, balance=0.0, activation=0.0)
SMALL_BUFFER = dict(type='BufferReplay', num_batches=1, batch_size=4)


@gives('predfkd.js', 'kakr.js')
def detached_js(x: Inputs, entry: Entry) -> Values:
    pack, networks, _ = readers(x)
    model = algorithm(
        f'{entry.id.partition(".")[0]}/{C10}',
        adversarial_loss=RELEASED_JS,
        class_prior=NO_PRIOR,
        replay=SMALL_BUFFER,
        **networks)
    return dict(
        loss=summed(model.generator_losses(selected(pack.images_BCHW))))


def flat_networks(x: Inputs) -> dict[str, Any]:
    """The networks of PRE-DFKD's and KAKR's entries."""
    student = linear(x.student_weight)
    x.student_weight = student.weight
    return dict(
        image_shape=(3, 8, 8),
        teacher=nn.Sequential(nn.Flatten(), linear(x.teacher_hidden),
                              nn.ReLU(), linear(x.teacher_weight)),
        student=Student(nn.Sequential(nn.Flatten(), student)))


@gives('predfkd.generator')
def predfkd_generator(x: Inputs, entry: Entry) -> Values:
    alone = entry.id.endswith('alone')
    model = algorithm(
        f'predfkd/{C10}',
        adversarial_loss=RELEASED_JS,
        replay=SMALL_BUFFER,
        **(dict(class_prior=NO_PRIOR) if alone else {}),
        **flat_networks(x))
    losses = model.generator_losses(selected(x.images))
    return dict(loss=summed(losses), adversarial=losses['adversarial'])


class _Encoder(nn.Module):
    """Mean and log variance, linear in the images."""

    def __init__(self, x: Inputs) -> None:
        super().__init__()
        self.mean = linear(x.encoder_mean)
        self.log_variance = linear(x.encoder_log_var)
        self.encoded: list[int] = []

    def forward(self, inputs_BCHW: Tensor) -> Tensor:
        self.encoded.append(len(inputs_BCHW))
        # The encoder is given 2x - 1.
        rows = (inputs_BCHW.flatten(1) + 1) / 2
        return torch.cat((self.mean(rows), self.log_variance(rows)), 1)


class _Decoder(nn.Module):
    """Images that are linear in the latents."""

    def __init__(self, x: Inputs) -> None:
        super().__init__()
        self.layer = linear(x.decoder)
        self.latent_size = x.decoder.shape[1]
        self.calls: list[tuple[Tensor, bool]] = []

    def forward(self, latents_BZ: Tensor) -> Tensor:
        self.calls.append((latents_BZ.detach().clone(), self.training))
        return self.layer(latents_BZ).view(-1, 3, 8, 8)


def predfkd_with_replay(x: Inputs) -> Any:
    """PRE-DFKD whose new images are given and whose replay is linear."""
    replay = shipped_model(f'predfkd/{C10}')['replay']
    autoencoder = dict(
        type='VariationalAutoencoder',
        width=1,
        decoder=dict(
            type='UpsamplingGenerator', latent_size=6, image_size=8, width=1))
    model = algorithm(
        f'predfkd/{C10}',
        batch_size=len(x.images),
        replay_batch_size=len(x.latents),
        num_student_steps=1,
        replay=replay | dict(autoencoder=autoencoder),
        **flat_networks(x))
    autoencoder = model.replayed.replay.autoencoder
    autoencoder.encoder = _Encoder(x).double()
    autoencoder.decoder = _Decoder(x).double()
    x.encoder_mean = autoencoder.encoder.mean.weight
    x.encoder_log_var = autoencoder.encoder.log_variance.weight
    x.decoder = autoencoder.decoder.layer.weight
    images = x.images.detach()
    model.candidates.selected_batch = lambda size: (SyntheticBatch(
        images), model.teacher_logits(images))
    model.generator_step = lambda wrapper: {}
    return model


@gives('predfkd.vae.first', 'predfkd.vae.later')
def autoencoder_step(x: Inputs, entry: Entry) -> Values:
    model = predfkd_with_replay(x)
    autoencoder = model.replayed.replay.autoencoder
    wrappers = dict.fromkeys(model.trained_networks, Wrapper())
    with draws(model, recall=x.latents, replay=x.noise):
        for _ in range(2 if entry.id.endswith('later') else 1):
            model.zero_grad()
            losses = model.train_step(None, wrappers)
    x.gradients = {
        name: x.tensors()[name].grad
        for name in ('encoder_mean', 'encoder_log_var', 'decoder')
    }
    values = dict(
        loss=losses['replay_total'],
        image_l1=losses['replay_images'],
        logits_l1=losses['replay_logits'],
        divergence=losses['replay_divergence'],
        images_encoded=autoencoder.encoder.encoded[-1])
    if entry.id.endswith('later'):
        values |= refined(x, autoencoder.decoder)
    return values


def refined(x: Inputs, decoder: _Decoder) -> Values:
    """The latents of the last images that were recalled."""
    latents = [
        latents_BZ for latents_BZ, _ in decoder.calls
        if len(latents_BZ) == len(x.latents)
    ][-1]
    return dict(
        refined_latents_norm=latents.norm(),
        refined_minus_drawn_first=(latents - x.latents).flatten()[:6])


@gives('predfkd.student.replay')
def predfkd_student(x: Inputs, entry: Entry) -> Values:
    model = predfkd_with_replay(x)
    decoder = model.replayed.replay.autoencoder.decoder
    with draws(model, recall=x.latents, replay=x.noise):
        images, target = model.student_batch()
    losses = model.student_losses(images, target)
    left = decoder.layer.weight.grad
    return dict(
        loss=summed(losses),
        **refined(x, decoder),
        decoder_in_train_mode=decoder.calls[-1][1],
        decoder_gradient_left=0.0 if left is None else left.norm())


@gives('predfkd.student.new_alone')
def predfkd_student_alone(x: Inputs, entry: Entry) -> Values:
    model = predfkd_with_replay(x)
    images = x.images.detach()
    target = TeacherOutput(model.teacher_logits(images))
    return dict(loss=summed(model.student_losses(images, target)))


class _Given(nn.Module):
    """Its output is given; it keeps its input."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output

    def forward(self, inputs_BCHW: Tensor) -> Tensor:
        self.inputs = inputs_BCHW
        return self.output


def autoencoder_of(output: Tensor) -> tuple[Any, Any]:
    """A small replay whose encoder gives this output."""
    replay = shipped_model(f'predfkd/{C10}')['replay']
    decoder = dict(
        type='UpsamplingGenerator',
        latent_size=output.shape[1] // 2,
        image_size=8,
        width=1)
    replay = MODELS.build(replay | dict(
        autoencoder=dict(
            type='VariationalAutoencoder', width=1, decoder=decoder))).double(
            )
    replay.autoencoder.encoder = _Given(output)
    return replay, replay.autoencoder


@gives('predfkd.vae.kl')
def divergence(x: Inputs, entry: Entry) -> Values:
    replay, autoencoder = autoencoder_of(torch.cat((x.mean, x.log_var), 1))
    made = autoencoder(torch.zeros(8, 3, 8, 8), torch.Generator())
    return dict(loss=replay.divergence_weight * made.divergence)


@gives('predfkd.encoder_input')
def encoder_input(x: Inputs, entry: Entry) -> Values:
    _, autoencoder = autoencoder_of(torch.zeros(4, 12).double())
    autoencoder(x.images, torch.Generator())
    seen = autoencoder.encoder.inputs
    return dict(
        norm=seen.norm(),
        length_of_a_column=seen.norm(dim=2).mean(),
        first=seen.flatten()[:4])


@gives('kakr.student')
def kakr_student(x: Inputs, entry: Entry) -> Values:
    lr = dict(inner_lr=0.01) if entry.id.endswith('small_lr') else {}
    model = algorithm(
        f'kakr/{C10}', replay=SMALL_BUFFER, **lr, **flat_networks(x))
    images, replayed = x.images.detach(), x.replayed.detach()
    model.candidates.selected_batch = lambda size: (SyntheticBatch(
        images), model.teacher_logits(images))
    empty = entry.id.endswith('no_memory')
    model.replay.recall = lambda size, stream: None if empty else replayed
    _, _, losses = model.retaining_step(Wrapper())
    x.gradients = dict(student_weight=x.student_weight.grad)
    if empty:
        return dict(loss=losses['total'])
    return dict(
        loss=losses['total'],
        new_at_w=losses['logits'],
        replayed_at_w_ahead=losses['retained'])


# SpaceshipNet.


@gives('spaceship.kl')
def spaceship_kl(x: Inputs, entry: Entry) -> Values:
    loss = MODELS.build(shipped_model(f'spaceshipnet/{C10}')['student_loss'])
    return dict(loss=loss(x.student, x.teacher))


@gives('spaceship.cam')
def activation_maps(x: Inputs, entry: Entry) -> Values:
    loss = MODELS.build(
        shipped_model(f'spaceshipnet/{C10}')['activation_loss'])
    return dict(
        loss=loss(x.student_map, x.student_weight, x.teacher_map,
                  x.teacher_weight))


@gives('spaceship.grad_cam')
def grad_cam(x: Inputs, entry: Entry) -> Values:
    loss = package_losses.GradCAMLoss()

    def between(*stages: int) -> Tensor:
        return loss(
            *([x.tensors()[f'{network}_{kind}_{stage}'] for stage in stages]
              for network in ('student', 'teacher')
              for kind in ('map', 'grad')))

    return dict(
        loss=between(1, 2, 3, 4),
        **{f'stage_{stage}': between(stage)
           for stage in (1, 2, 3, 4)})


def _four_stages(x: Inputs, name: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    for stage in range(1, 5):
        weight = x.tensors()[f'{name}_{stage}']
        layer = nn.Conv2d(
            weight.shape[1],
            weight.shape[0],
            3,
            stride=1 if stage == 1 else 2,
            padding=1,
            bias=False)
        layer.weight = nn.Parameter(weight.detach().float())
        setattr(x, f'{name}_{stage}', layer.weight)
        layers += [layer, nn.ReLU()]
    last = linear(x.tensors()[f'{name}_linear'])
    setattr(x, f'{name}_linear', last.weight)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), last)


@gives('spaceship.student')
def spaceship_student(x: Inputs, entry: Entry) -> Values:
    model = algorithm(f'spaceshipnet/{C10}', _four_stages(x, 'teacher'),
                      Student(_four_stages(x, 'student')), (3, 16, 16))
    images = x.images.detach()
    target = model.teacher(images, maps_at=model.stage_maps.teacher)
    losses = model.student_losses(images, target)
    return dict(
        loss=summed(losses),
        kl=losses['logits'],
        cam=losses['activation'],
        grad_cam=losses['grad_cam'])


@gives('spaceship.exchange')
def exchange(x: Inputs, entry: Entry) -> Values:
    from tadfkd.algorithms.spaceship_net import exchange_channels
    features = x.features.detach()
    kept_BC = torch.zeros(features.shape[:2], dtype=torch.bool)
    for sample, channels in enumerate(entry.parameters['own_channels']):
        kept_BC[sample, channels] = True
    mixed = exchange_channels(features, kept_BC)

    def equal_to(other: Tensor) -> list[list[int]]:
        return [
            same.nonzero().squeeze(1).tolist()
            for same in (mixed == other).flatten(2).all(2)
        ]

    return dict(
        channels_equal_to_own=equal_to(features),
        channels_equal_to_partner=equal_to(features.flip(0)),
        mixed_norm=mixed.norm(),
        mixed_sum=mixed.sum(),
        mixed_first=mixed[:, :, 0, 0].flatten()[:8])


# What no public code gives.


class _Stepping(Wrapper):
    """An optimiser wrapper whose steps are given.

    Args:
        *steps: Called one after the other, in place of a step.
    """

    def __init__(self, *steps: Any) -> None:
        super().__init__()
        self.steps = iter(steps)

    def update_params(self, loss: Tensor) -> None:
        """The next step."""
        self.backward(loss)
        next(self.steps)()


def setting(weight: Tensor, value: Tensor) -> Any:
    """A step that sets a weight."""
    return lambda: weight.data.copy_(value.detach())


@gives('mad.slow_generator')
def slow_generator(x: Inputs, entry: Entry) -> Values:
    pack = Pack(logits=torch.zeros(2, 10))
    model = algorithm(
        f'mad/{C10}',
        Reader(pack, 'logits'),
        Reader(pack, 'logits'),
        pack.image_shape,
        bn_loss=None)
    # Latents are drawn in float32.
    model.float()
    weight = model.generator.project.bias
    slow = model.slow_generator.module.project.bias
    setting(weight, x.start)()
    setting(slow, x.start)()
    wrapper = _Stepping(*(setting(weight, step)
                          for step in (x.step_1, x.step_2, x.step_3)))
    model.batch_size = 2
    for _ in range(3):
        model.generator_step(wrapper)
    return dict(weights=slow)


@gives('dfq.student_is_teacher')
def dfq_with_its_student(x: Inputs, entry: Entry) -> Values:
    pack, networks, _ = readers(x)
    model = algorithm(
        f'dfq/{C10}', bn_loss=None, class_prior=NO_PRIOR, **networks)
    losses = model.generator_losses(selected(pack.images_BCHW))
    return dict(adversarial=losses['adversarial'])


@gives('tadfkd.student_mode')
def student_mode(x: Inputs, entry: Entry) -> Values:
    student = nn.Sequential(
        batch_norm(x.running_mean, x.running_var), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), linear(x.student_weight))
    model = algorithm(
        f'tadfkd/{C10}_released',
        nn.Sequential(_MeanOfSquares(), linear(x.teacher_weight)),
        Student(student),
        x.images.shape[1:],
        bn_loss=None)
    with model.train_only('generator', Wrapper()):
        losses = model.generator_losses(selected(x.images))
    return dict(adversarial=losses['adversarial'])


@gives('deepinversion.best_images')
def best_images(x: Inputs, entry: Entry) -> Values:
    pack = Pack(logits=torch.zeros(2, 10))
    losses = iter(entry.parameters['losses'])
    model = algorithm(
        f'deepinversion/{C10}',
        Reader(pack, 'logits'),
        Reader(pack, 'logits'),
        pack.image_shape,
        generator=dict(type='PixelGenerator', batch_size=2),
        batch_size=2,
        bn_loss=None,
        num_generator_steps=3)
    variables = model.generator.variables_BCHW

    def inversion_losses(images: Tensor, labels: Tensor) -> Values:
        return dict(given=0 * images.sum() + next(losses))

    model.inversion_losses = inversion_losses
    setting(variables, x.step_1)()
    wrapper = _Stepping(*(setting(variables, step)
                          for step in (x.step_2, x.step_3, x.step_4)))
    images, _ = model.invert(
        torch.zeros(2, 1, requires_grad=True), torch.zeros(2),
        dict(generator=wrapper))
    return dict(first=images.flatten()[:4])


class _Pixel(nn.Module):
    """A generator whose pixels are its weight."""

    latent_size, num_classes = 4, None

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone())

    def forward(self, latents_BZ: Tensor, labels_B: None) -> Tensor:
        return self.weight * torch.ones(len(latents_BZ), 1, 8, 8)


@gives('zskt.order')
def zskt_order(x: Inputs, entry: Entry) -> Values:
    pack = Pack(logits=torch.zeros(2, 10))
    model = algorithm(
        f'zskt/{C10}',
        Reader(pack, 'logits'),
        Reader(pack, 'logits'),
        pack.image_shape,
        attention_loss=dict(type='AttentionTransferLoss', loss_weight=0.0))
    model.generator = model.candidates.generator = _Pixel(x.before)
    seen = []

    def student_losses(images: Tensor, target: TeacherOutput) -> Values:
        seen.append(images.mean())
        return dict(given=images.sum())

    model.student_losses = student_losses
    model.batch_size = 2
    model.train_step(
        None,
        dict(
            generator=_Stepping(setting(model.generator.weight, x.after)),
            student=Wrapper()))
    return dict(pixel=seen[0])


@gives('kakr.buffer')
def kakr_buffer(x: Inputs, entry: Entry) -> Values:
    replay = MODELS.build(shipped_model(f'kakr/{C10}')['replay'])
    images, kept = torch.zeros(64, 1), []
    for epoch in range(1, max(x.epochs) + 1):
        for _ in range(entry.parameters['student_steps_per_epoch']):
            replay.observe(images)
        if epoch in x.epochs:
            kept.append(len(replay.buffer))
    return dict(images=kept)


@gives('spaceship.synthesis')
def spaceship_synthesis(x: Inputs, entry: Entry) -> Values:
    model = algorithm(
        f'spaceshipnet/{C10}',
        _small_convolutions(),
        Student(_small_convolutions()), (1, 8, 8),
        synthesis_batch_size=4,
        num_generator_steps=3)
    # Latents are drawn in float32.
    network, losses = model.float().bare_generator, iter(x.losses)

    def inversion_losses(images: Tensor, labels: Tensor) -> Values:
        # The mean is in [0, 1], so the given losses keep their order.
        return dict(given=images.mean() + 10 * next(losses))

    model.inversion_losses = inversion_losses
    features: list[Tensor] = []
    latents: list[Tensor] = []
    network.upsample[network.feature_layers[0] - 1].register_forward_hook(
        lambda layer, inputs, output: features.append(output.detach().clone()))
    network.project.register_forward_pre_hook(
        lambda layer, inputs: latents.append(inputs[0].detach().clone()))
    weight = network.project.weight
    wrapper = _Stepping(*3 * [lambda: weight.data.mul_(-2)])
    wrapper.optimizer.state['given'] = 0
    model.synthesis(dict(generator=wrapper))
    kept = model.banks[0].rows()
    steps = [
        step for step, made in enumerate(features[:3], 1)
        if kept.allclose(made)
    ]
    return dict(
        kept_step=steps[0] if steps else None,
        latents_change=not latents[0].equal(latents[2]),
        optimiser_is_new=not wrapper.optimizer.state)


def _small_convolutions() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(),
        nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


# Generators.

#: By id, the config and the path of the generator in its ``model``.
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


def filled_generator(x: Inputs, entry: Entry) -> tuple[Any, Any]:
    """A shipped generator for smaller latents, with the entry's weights, and
    a function that gives its images as the teacher reads them. The latents
    and the weights of the images' sum are added to the inputs."""
    model = shipped_model(f'{GENERATORS[entry.id]}/{C10}')
    config = model['generator'] if entry.id != 'predfkd.memory_network' \
        else model['replay']['autoencoder']['decoder']
    config = config | dict(latent_size=16, image_size=x.image_size)
    if 'num_noisy_layers' in config:
        config |= dict(num_noisy_layers=2, embedding_size=12)
    network = MODELS.build(config)
    g = torch.Generator().manual_seed(x.seed)

    def draw(*shape: int) -> Tensor:
        return torch.rand(shape, generator=g)

    if entry.id == 'nayer.network':
        rows = (torch.rand(
            10, 12, generator=torch.Generator().manual_seed(999)) - 0.5) * 2
        network.embedding_KE.copy_(rows)
    with torch.no_grad():
        if entry.id == 'nayer.network':
            fill(network.norm, draw)
            for noisy_EZ in network.noisy_GEZ:
                noisy_EZ.copy_((draw(*noisy_EZ.T.shape).T - 0.5) * 0.4)
        for layer in (network.project, *network.upsample,
                      *network.head.modules()):
            fill(layer, draw)
    if entry.id == 'nayer.network':
        x.noisy_layer = network.noisy_GEZ
    else:
        x.latents = (draw(x.batch, 16) - 0.5) * 3
        x.latents = x.latents.double().requires_grad_()
    x.weights = (draw(x.batch, 3, x.image_size, x.image_size) - 0.5).double()
    adapter = InputAdapter([127.5], [63.75]) \
        if config['head'] != 'sigmoid' else lambda images: images
    return network.double(), adapter


def fill(layer: nn.Module, draw: Any) -> None:
    """Give a layer the weights of the entries' recipe."""
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        if layer.affine:
            layer.weight.copy_(draw(layer.num_features) + 0.5)
            layer.bias.copy_(draw(layer.num_features) - 0.5)
    elif isinstance(layer, nn.Linear | nn.Conv2d):
        parametrizations = getattr(layer, 'parametrizations', None)
        weight = parametrizations.weight.original if parametrizations \
            else layer.weight
        weight.copy_((draw(*weight.shape) - 0.5) * 0.4)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        if parametrizations:
            # The singular vectors of the largest singular value.
            u, _, v = torch.linalg.svd(weight.flatten(1).double())
            parametrizations.weight[0]._u.copy_(u[:, 0])
            parametrizations.weight[0]._v.copy_(v[0])


def network_inputs(x: Inputs) -> tuple[Tensor | None, Tensor | None]:
    """Latents and labels."""
    if hasattr(x, 'noisy_layer'):
        return None, torch.arange(10).repeat(2)
    return x.latents, None


@gives(*(id for id in GENERATORS if id != 'spaceship.features'))
def generator(x: Inputs, entry: Entry) -> Values:
    network, as_read = filled_generator(x, entry)
    images = as_read(network.train()(*network_inputs(x)))
    weighted_sum = (images * x.weights).sum()
    if hasattr(x, 'noisy_layer'):
        # The first layer alone; ours is transposed.
        gradient_GEZ, = torch.autograd.grad(weighted_sum, x.noisy_layer)
        x.gradients = dict(noisy_layer=gradient_GEZ[0].T)
    later = as_read(network.eval()(*network_inputs(x)))
    return dict(
        weighted_sum=weighted_sum,
        mean=images.mean(),
        norm=images.norm(),
        first=images.flatten()[:4],
        eval_norm=later.norm(),
        eval_first=later.flatten()[:4])


@gives('spaceship.features')
def features(x: Inputs, entry: Entry) -> Values:
    network, _ = filled_generator(x, entry)
    values: Values = {}
    with torch.no_grad():
        network.train()(x.latents)
        network.eval()
        for number, (stored, start) in enumerate(
                zip(network.encode(x.latents), network.feature_layers)):
            half = stored.shape[1] // 2
            mixed = torch.cat((stored[:, :half], stored.flip(0)[:, half:]), 1)
            images = network.decode(mixed, start)
            values |= {
                f'features_{number}_norm': stored.norm(),
                f'features_{number}_shape': [*stored.shape[1:]],
                f'decoded_{number}_norm': images.norm(),
                f'decoded_{number}_first': images.flatten()[:4]
            }
    return values
