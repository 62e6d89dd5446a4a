"""Convert a public CIFAR teacher to an mmpretrain checkpoint and config.

Architecture, widths, classes and layout are recognised from the state dict,
which is read without running code in it. Nothing is written unless every
weight finds its place in the new network. Strides, pooling and batch norm's
epsilon (1e-5) are those of the public code, because weights do not contain
them. If you have images, check the new teacher's accuracy.
"""
import argparse

from tadfkd.cli import run_tool
from tadfkd.converters import STATISTICS, convert
from tadfkd.errors import UserError


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', help='a public checkpoint')
    parser.add_argument(
        'destination',
        help='the new .pth file; a .py file is written beside it')
    parser.add_argument(
        '--dataset',
        choices=sorted(STATISTICS),
        help='the data set whose mean and standard deviation normalised the '
        "inputs, with the values of this project's configs")
    for name in ('mean', 'std'):
        parser.add_argument(
            f'--{name}',
            nargs='+',
            type=float,
            metavar='VALUE',
            help=f'the {name} that normalised the inputs, per channel, in '
            'units of [0, 255]')
    parser.add_argument(
        '--image-size',
        type=int,
        default=32,
        help="height and width of the network's images (default: 32)")
    return parser.parse_args()


def statistics(
        arguments: argparse.Namespace) -> tuple[list[float], list[float]]:
    """Mean and standard deviation, from the data set or as numbers."""
    by_name = arguments.dataset is not None
    given = [arguments.mean is not None, arguments.std is not None]
    if given != [not by_name] * 2:
        raise UserError(
            'the normalisation of the inputs must be given by --dataset or '
            'by --mean and --std, got none or a mixture: give --dataset '
            f'{" or ".join(sorted(STATISTICS))}, or both --mean and --std in '
            'units of [0, 255]')
    if by_name:
        return STATISTICS[arguments.dataset]
    return arguments.mean, arguments.std


def main() -> None:
    """Convert, and print what was written."""
    arguments = parse_arguments()
    network = convert(arguments.source, arguments.destination,
                      *statistics(arguments), arguments.image_size)
    print(f'{network.architecture}, {network.num_classes} classes, '
          f'{network.in_channels} input channels, from {network.layout}')
    print(f'wrote {arguments.destination} and its config beside it')


if __name__ == '__main__':
    run_tool(main)
