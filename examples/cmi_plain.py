"""CMI (arXiv 2105.08584) in one file: python examples/cmi_plain.py

A test shows that the two steps equal those of the framework, but for the
rounding of batch statistics.
"""
import torch
from mmpretrain.models import ResNet_CIFAR
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn.functional import (affine_grid, cross_entropy, grid_sample,
                                 kl_div, normalize)
from torch.optim import SGD, Adam


class ResNet18(nn.Module):
    """Grey images in [0, 1] -> logits of 10 classes."""

    def __init__(self, width):
        super().__init__()
        sizes = dict(stem_channels=width, base_channels=width)
        self.backbone = ResNet_CIFAR(
            18, in_channels=1, out_indices=(0, 1, 2, 3), **sizes)
        self.head = nn.Linear(8 * width, 10)

    def maps(self, images):
        """What the four stages make."""
        mean, std = torch.tensor([[77.7], [81.2]]) / 255
        return self.backbone((images - mean) / std)

    def forward(self, images):
        return self.head(self.maps(images)[-1].mean((2, 3)))


def make_generator(latent_size=128, n=32):
    """Latents -> grey images in [0, 1] of 16 x 16 pixels."""
    return nn.Sequential(
        nn.Linear(latent_size, 32 * n), nn.Unflatten(1, (2 * n, 4, 4)),
        nn.BatchNorm2d(2 * n), nn.Upsample(scale_factor=2),
        nn.Conv2d(2 * n, 2 * n, 3, padding=1), nn.BatchNorm2d(2 * n),
        nn.LeakyReLU(0.2), nn.Upsample(scale_factor=2),
        nn.Conv2d(2 * n, n, 3, padding=1), nn.BatchNorm2d(n),
        nn.LeakyReLU(0.2), nn.Conv2d(n, 1, 3, padding=1), nn.Sigmoid())


def make_projection(features=240, size=64):
    """Features of the teacher -> embeddings, which are told apart."""
    return nn.Sequential(
        nn.Linear(features, features), nn.ReLU(), nn.Linear(features, size))


def features_of(maps):
    return torch.cat([values.mean((2, 3)) for values in maps], 1)


class Memory:
    """Keeps the newest rows: the pool of images, the bank of views."""

    def __init__(self, capacity, *shape):
        self.rows, self.added = torch.empty(capacity, *shape), 0

    def add(self, rows):
        places = self.added + torch.arange(len(rows))
        self.rows[places % len(self.rows)] = rows
        self.added += len(rows)

    def sample(self, size, stream):
        return self.rows[torch.randint(
            min(self.added, len(self.rows)), (size, ), generator=stream)]

    def sample_distinct(self, size, stream):
        filled = min(self.added, len(self.rows))
        return self.rows[torch.randperm(filled, generator=stream)[:size]]


def local_view(images, stream):
    """A random part of each image, enlarged to the whole, and random flip."""
    area, *centre, flip = torch.rand(4, len(images), generator=stream)
    side = (0.25 + 0.75 * area).sqrt()
    transform = torch.zeros(len(images), 2, 3)
    transform[:, 0, 0] = torch.where(flip < 0.5, -side, side)
    transform[:, 1, 1] = side
    transform[:, :, 2] = ((1 - side) * (2 * torch.stack(centre) - 1)).T
    grid = affine_grid(transform, list(images.shape), align_corners=False)
    return grid_sample(
        images, grid, padding_mode='border', align_corners=False)


def with_bn_distance(teacher, images):
    """The teacher's maps, and how far images are from training data."""
    distances = []

    def read(layer, inputs):
        if isinstance(layer, nn.BatchNorm2d):
            variance, mean = torch.var_mean(*inputs, (0, 2, 3), unbiased=False)
            distances.append((mean - layer.running_mean).norm())
            distances.append((variance - layer.running_var).norm())

    hook = nn.modules.module.register_module_forward_pre_hook(read)
    maps = teacher.maps(images)
    hook.remove()
    return maps, sum(distances)


def agreed_divergence(student_logits, teacher_logits):
    """KL(T || S), 0 where student and teacher do not say the same class."""
    agreed = student_logits.argmax(1) == teacher_logits.argmax(1)
    log_p, log_q = student_logits.log_softmax(1), teacher_logits.log_softmax(1)
    divergence = kl_div(log_p, log_q, reduction='none', log_target=True).sum(1)
    return (divergence * agreed).mean()


def info_nce(queries, keys):
    """0.8 InfoNCE: find query i in key i, among all other keys."""
    queries, keys = (normalize(rows) for rows in (queries, keys))
    positives = torch.arange(len(queries))
    return 0.8 * cross_entropy(queries @ keys.T / 0.1, positives)


def contrast(projection, views, bank, stream, num_negatives):
    """InfoNCE of the features of two views, new ones and those of a bank."""
    size = len(views[0])
    if bank.added > 0:
        old = bank.sample_distinct(num_negatives, stream).chunk(2, 1)
        views = [torch.cat(rows) for rows in zip(views, old)]
    queries, keys = projection(torch.cat(views)).chunk(2)
    loss = info_nce(queries[:size], keys.detach())
    if bank.added > 0:
        loss += info_nce(queries[size:], keys.detach().roll(-size, 0))
    return loss


def synthesis(teacher, student, generator, projection, projection_adam, bank,
              streams, size, num_steps, num_negatives):
    """Invert the teacher into one batch; returns the images of least loss.

    CE(T(x), y) + BN(x) - 0.5 KL(T(x) || S(x)) where both agree + 0.8 InfoNCE
    """
    latents = torch.randn(
        size, generator[0].in_features, generator=streams['latents'])
    labels = torch.randint(10, (size, ), generator=streams['labels'])
    # The generator starts again from new weights; the projection stays.
    seed = torch.randint(2**62, (), generator=streams['generator'])
    torch.manual_seed(int(seed))
    for layer in generator:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.normal_(layer.weight, 0, 0.02)
            nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
            nn.init.normal_(layer.weight, 1, 0.02)
    adam = Adam([latents.requires_grad_(), *generator.parameters()], 1e-3,
                (0.5, 0.999))
    student.eval().requires_grad_(False)
    lowest = torch.inf
    for _ in range(num_steps):
        images = generator(latents)
        maps, bn_distance = with_bn_distance(teacher, images)
        logits = teacher.head(maps[-1].mean((2, 3)))
        divergence = agreed_divergence(student(images), logits)
        local_maps = teacher.maps(local_view(images, streams['local']))
        views = features_of(local_maps), features_of(maps)
        contrastive = contrast(projection, views, bank, streams['bank'],
                               num_negatives)
        loss = cross_entropy(logits, labels) + bn_distance - \
            0.5 * divergence + contrastive
        update(loss, adam, projection_adam)
        if loss < lowest:
            best, lowest = images.detach(), loss.detach()
            best_views = torch.cat(views, 1).detach()
    student.train().requires_grad_(True)
    bank.add(best_views)
    return best


def student_step(teacher, student, optimizer, images):
    """20^2 KL(T || S) at temperature 20."""
    logs = [(network(images) / 20).log_softmax(1)
            for network in (student, teacher)]
    divergence = kl_div(*logs, reduction='batchmean', log_target=True)
    update(400 * divergence, optimizer)


def update(loss, *optimizers):
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()


def main(epochs=10, num_generator_steps=40, num_student_steps=50, size=64):
    torch.manual_seed(0)
    digits, classes = map(torch.tensor, load_digits(return_X_y=True))
    digits = digits.view(-1, 1, 8, 8).float() / 16
    digits = digits.repeat_interleave(2, 2).repeat_interleave(2, 3)
    images, tests, labels, answers = train_test_split(
        digits, classes, test_size=1 / 3)
    teacher, student, generator = ResNet18(16), ResNet18(8), make_generator()
    optimizer = SGD(teacher.parameters(), 0.1, 0.9)
    for rows in torch.randint(len(images), (150, 128)):
        loss = cross_entropy(teacher(images[rows]), labels[rows])
        update(loss, optimizer)
    teacher.eval().requires_grad_(False)

    projection = make_projection()
    projection_adam = Adam(projection.parameters(), 1e-3)
    optimizer = SGD(student.parameters(), 0.1, 0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    pool, bank = Memory(960, 1, 16, 16), Memory(960, 480)
    names = 'latents', 'labels', 'generator', 'local', 'bank', 'pool'
    streams = {name: torch.Generator() for name in names}
    for seed, stream in enumerate(streams.values()):
        stream.manual_seed(seed)
    for epoch in range(epochs):
        pool.add(
            synthesis(teacher, student, generator, projection, projection_adam,
                      bank, streams, size, num_generator_steps, 256))
        for _ in range(num_student_steps):
            student_step(teacher, student, optimizer,
                         pool.sample(size, streams['pool']))
        schedule.step()
        for name, network in ('teacher', teacher), ('student', student.eval()):
            right = (network(tests).argmax(1) == answers).float().mean()
            print(f'epoch {epoch + 1}: {name} {100 * right:.2f} %')
        student.train()


if __name__ == '__main__':
    main()
