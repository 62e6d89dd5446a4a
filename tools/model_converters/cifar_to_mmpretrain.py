"""Convert a public CIFAR teacher to an mmpretrain checkpoint and config.

Architecture, widths, classes and layout are found out from the state dict; it
is read without running any code in it. Nothing is written unless the new
network computes what the source does, on random images. What weights do not
tell is taken from the public code: strides, pooling, and 1e-5 in batch norm;
so look at the new teacher's accuracy if you have images.
"""
import argparse

from tadfkd.apis.command_line import run_tool
from tadfkd.converters import STATISTICS, convert
from tadfkd.errors import UserError


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', help='a public checkpoint')
    parser.add_argument(
        'destination', help='the new .pth file; a .py is written beside it')
    parser.add_argument(
        '--dataset',
        choices=sorted(STATISTICS),
        help='normalised by the usual mean and standard deviation of this '
        "data set, which are those of this project's configs")
    for name in ('mean', 'std'):
        parser.add_argument(
            f'--{name}',
            nargs='+',
            type=float,
            metavar='VALUE',
            help='what the inputs were normalised by, per channel, in units '
            'of [0, 255]')
    parser.add_argument(
        '--image-size',
        type=int,
        default=32,
        help='height and width that the network is for (default: 32)')
    return parser.parse_args()


def statistics(
        arguments: argparse.Namespace) -> tuple[list[float], list[float]]:
    """Mean and standard deviation; the user must say which."""
    by_name = arguments.dataset is not None
    given = [arguments.mean is not None, arguments.std is not None]
    if given != [not by_name] * 2:
        raise UserError(
            'the weights do not tell what the inputs were normalised by, got '
            'neither --dataset nor --mean and --std, or a mixture: give '
            f'--dataset {" or ".join(sorted(STATISTICS))}, or both --mean and '
            '--std in units of [0, 255]')
    if by_name:
        return STATISTICS[arguments.dataset]
    return arguments.mean, arguments.std


def main() -> None:
    """Parse, build, call."""
    arguments = parse_arguments()
    conversion = convert(arguments.source, arguments.destination,
                         *statistics(arguments), arguments.image_size)
    network = conversion.network
    print(f'{network.architecture}, {network.num_classes} classes, '
          f'{network.in_channels} input channels, from {network.layout}')
    print(f'largest difference of logits {conversion.difference:.3g}, '
          f'allowed {conversion.tolerance:.3g}')
    print(f'wrote {conversion.checkpoint} and {conversion.config}')


if __name__ == '__main__':
    run_tool(main)
