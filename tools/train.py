"""Train a student without data, or a teacher of configs/teachers/ on data."""
import argparse
import sys

from tadfkd.apis import load_config, train
from tadfkd.apis.command_line import (add_cfg_options, resuming_command,
                                      run_tool)
from tadfkd.distributed.launchers import LAUNCHERS
from tadfkd.errors import Interrupted


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='path of a config file')
    parser.add_argument('--work-dir', help='where logs and checkpoints go')
    parser.add_argument(
        '--resume',
        nargs='?',
        const=True,
        default=False,
        help='resume from the given checkpoint, or without a name from the '
        'newest intact one in the work directory, if there is one')
    parser.add_argument(
        '--amp', action='store_true', help='forward passes in bfloat16')
    parser.add_argument('--seed', type=int, help='seed of the run')
    parser.add_argument(
        '--teacher',
        metavar='CONFIG',
        help="a config of another teacher, such as those in configs/teachers/"
        ', in place of the one in the config')
    parser.add_argument(
        '--teacher-checkpoint',
        metavar='FILE',
        help="the teacher's weights, in place of the config's")
    parser.add_argument(
        '--no-eval',
        action='store_true',
        help='train without any evaluation data')
    add_cfg_options(parser)
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none')
    # torch.distributed.launch passes --local_rank; torchrun does not.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    return parser.parse_args()


def main() -> None:
    """Parse, build, call."""
    arguments = parse_arguments()
    config = load_config(
        arguments.config,
        options=arguments.cfg_options,
        work_dir=arguments.work_dir,
        seed=arguments.seed,
        resume=arguments.resume,
        amp=arguments.amp,
        launcher=arguments.launcher,
        teacher=arguments.teacher,
        teacher_checkpoint=arguments.teacher_checkpoint,
        evaluate=not arguments.no_eval)
    try:
        train(config)
    except Interrupted as interruption:
        # With several processes, the command of the launcher is not known.
        if arguments.launcher == 'none':
            print(
                f'{interruption}: {resuming_command(sys.argv)}',
                file=sys.stderr)
        raise


if __name__ == '__main__':
    run_tool(main)
