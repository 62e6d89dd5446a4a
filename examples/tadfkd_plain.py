"""TA-DFKD (arXiv 2402.12406) in one file: python examples/tadfkd_plain.py

A test shows that the two steps equal those of the framework bit for bit.
"""
import math

import torch
from mmpretrain.models import ResNet_CIFAR
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn.functional import cross_entropy, l1_loss


class ResNet18(nn.Module):
    """Grey images in [0, 1] -> logits of 10 classes."""

    def __init__(self, width):
        super().__init__()
        self.backbone = ResNet_CIFAR(
            18, in_channels=1, stem_channels=width, base_channels=width)
        self.head = nn.Linear(8 * width, 10)

    def normalize(self, images):
        mean, std = torch.tensor([[77.7], [81.2]]) / 255
        return (images - mean) / std

    def forward(self, images):
        maps, = self.backbone(self.normalize(images))
        return self.head(maps.mean((2, 3)))


def make_generator(latent_size=128, n=32):
    """Latents -> grey images in [0, 1] of 16 x 16 pixels."""
    return nn.Sequential(
        nn.Linear(latent_size, 32 * n), nn.Unflatten(1, (2 * n, 4, 4)),
        nn.BatchNorm2d(2 * n), nn.LeakyReLU(0.2), nn.Upsample(scale_factor=2),
        nn.Conv2d(2 * n, 2 * n, 3, padding=1), nn.BatchNorm2d(2 * n),
        nn.LeakyReLU(0.2), nn.Upsample(scale_factor=2),
        nn.Conv2d(2 * n, n, 3, padding=1), nn.BatchNorm2d(n),
        nn.LeakyReLU(0.2), nn.Conv2d(n, 1, 3, padding=1), nn.Sigmoid())


def recognised(logits):
    """Indices of the images that the lenient expert keeps: those in the lower
    of two Gaussians, fitted to CE(T(x), argmax T(x)) over the batch."""
    loss = logits.logsumexp(1) - logits.amax(1)
    x = ((loss - loss.min()) / (loss.max() - loss.min() + 1e-30)).double()
    # Start from the split of the sorted values with least squared error.
    values = x.sort().values
    low = torch.stack((torch.ones_like(x), values, values**2)).cumsum(1)
    high = low[:, -1:] - low
    error = (low[2] - low[1]**2 / low[0]) + (high[2] - high[1]**2 / high[0])
    is_low = x <= values[error.nan_to_num(nan=torch.inf).argmin()]
    share = torch.stack((is_low, ~is_low)).double()
    last, converged = torch.inf, False
    for _ in range(11):
        # Maximisation: mixing weights, means and variances.
        count = share.sum(1, True) + 10 * torch.finfo(x.dtype).eps
        mean = (share * x).sum(1, True) / count
        variance = (share * (x - mean)**2).sum(1, True) / count + 5e-4
        joint = (count / count.sum()).log() - 0.5 * (
            math.log(2 * math.pi) + variance.log() + (x - mean)**2 / variance)
        if converged:
            break
        # Expectation: how much of each value belongs to each Gaussian.
        evidence = joint.logsumexp(0)
        share = (joint - evidence).exp()
        converged = abs(evidence.mean() - last) < 1e-2
        last = evidence.mean()
    return (joint[mean.argmin()] >= joint[mean.argmax()]).nonzero()[:, 0]


def student_step(teacher, student, optimizer, sample, waiting, batch_size):
    """L1(S(x), T(x)) on recognised images; `waiting` keeps those left over."""
    with torch.no_grad():
        while len(waiting[0]) < batch_size:
            images = sample()
            logits = teacher(images)
            kept = recognised(logits)
            waiting[0] = torch.cat((waiting[0], images[kept]))
            waiting[1] = torch.cat((waiting[1], logits[kept]))
    images, logits = (rows[:batch_size] for rows in waiting)
    waiting[:] = (rows[batch_size:] for rows in waiting)
    return update(optimizer, l1_loss(student(images), logits))


def generator_step(teacher, student, optimizer, sample):
    """1 - JS(S(x), T(x)) + 10 BN(x) on recognised images, norms on all."""
    images = sample()
    x = images[recognised(teacher(images.detach()))]
    distances = []

    def read(layer, inputs):
        if isinstance(layer, nn.BatchNorm2d):
            variance, mean = torch.var_mean(*inputs, (0, 2, 3), unbiased=False)
            distances.append((mean - layer.running_mean).norm())
            distances.append((variance - layer.running_var).norm())

    hook = nn.modules.module.register_module_forward_pre_hook(read)
    log_q = (teacher(x) / 3).log_softmax(1)
    hook.remove()
    student.eval().requires_grad_(False)
    log_p = (student(x) / 3).log_softmax(1)
    student.train().requires_grad_(True)
    p, q = log_p.exp(), log_q.exp()
    log_m = ((p + q) / 2).clamp_min(2**-126).log()
    js = ((p * (log_p - log_m) + q * (log_q - log_m)) / 2).sum(1).mean()
    x = teacher.normalize(images)
    norm = x.flatten(1).norm(dim=1).mean()
    variation = sum(
        y.flatten(1).norm(dim=1).mean()
        for y in (x[..., :-1] - x[..., 1:], x[..., :-1, :] - x[..., 1:, :],
                  x[..., :-1, :-1] - x[..., 1:, 1:],
                  x[..., 1:, :-1] - x[..., :-1, 1:]))
    loss = 1 - js + 10 * sum(distances) + 0.192 * norm + 4.8e-4 * variation
    return update(optimizer, loss)


def update(optimizer, loss):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def main(epochs=15, size=128):
    torch.manual_seed(0)
    digits, classes = map(torch.tensor, load_digits(return_X_y=True))
    digits = digits.view(-1, 1, 8, 8).float().repeat_interleave(2, 2) / 16
    images, tests, labels, answers = train_test_split(
        digits.repeat_interleave(2, 3), classes, test_size=1 / 3)
    teacher, student, generator = ResNet18(16), ResNet18(8), make_generator()
    teacher_sgd = torch.optim.SGD(teacher.parameters(), 0.1, 0.9)
    sgd = torch.optim.SGD(student.parameters(), 0.1, 0.9, weight_decay=5e-4)
    adam = torch.optim.Adam(generator.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, epochs)

    def sample():
        return generator(torch.randn(size, 128))

    for rows in torch.randint(len(images), (10 * epochs, size)):
        loss = cross_entropy(teacher(images[rows]), labels[rows])
        update(teacher_sgd, loss)
    teacher.eval().requires_grad_(False)
    waiting = [torch.empty(0, 1, 16, 16), torch.empty(0, 10)]
    for epoch in range(epochs):
        for _ in range(10):
            for _ in range(5):
                student_step(teacher, student, sgd, sample, waiting, size)
            generator_step(teacher, student, adam, sample)
        schedule.step()
        for name, network in ('teacher', teacher), ('student', student.eval()):
            right = (network(tests).argmax(1) == answers).float().mean()
            print(f'epoch {epoch + 1}: {name} {100 * right:.2f} %')
        student.train()


if __name__ == '__main__':
    main()
