"""Compare the student steps of an earlier commit with those of this one.

Both run in turn, in processes of their own, with random teacher weights. A
variant is a set of options of this commit; the earlier one has only those of
--cfg-options, which all have.
"""
import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tadfkd.apis.command_line import (add_cfg_options, checkout_commit,
                                      run_tool, typed_command)
from tadfkd.errors import UserError, require_at_least
from tadfkd.utils.files import write_json

ROOT = Path(__file__).resolve().parents[2]


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('commit', help='to compare with')
    parser.add_argument('config', help='path of a config, in both commits')
    parser.add_argument(
        '--variant',
        nargs='+',
        action='append',
        metavar=('NAME', 'KEY=VALUE'),
        default=[],
        help='more options; may be given several times')
    parser.add_argument(
        '--steps', type=int, default=3, help='that are measured, of a run')
    parser.add_argument(
        '--warmup', type=int, default=1, help='steps that come before')
    parser.add_argument(
        '--repeats', type=int, default=3, help='runs of each kind')
    parser.add_argument('--json', metavar='FILE', help='where figures go')
    add_cfg_options(parser)
    return parser.parse_args()


def measure(tree: Path, arguments: argparse.Namespace,
            options: dict[str, Any]) -> dict[str, list]:
    """Seconds and rounds of the steps of a new run."""
    process = subprocess.run([
        sys.executable, ROOT / 'tools/misc/time_student_steps.py',
        arguments.config,
        json.dumps(options),
        str(arguments.steps),
        str(arguments.warmup)
    ],
                             cwd=tree,
                             env=os.environ | dict(PYTHONPATH=str(tree)),
                             capture_output=True,
                             text=True)
    if process.returncode != 0:
        raise UserError(f'{arguments.config} did not run in {tree} with '
                        f'{options}: {process.stderr.strip()[-500:]}')
    found = json.loads(process.stdout.splitlines()[-1])
    assert Path(found.pop('package')).is_relative_to(tree)
    return found


def compare(arguments: argparse.Namespace, earlier: Path) -> dict[str, Any]:
    """Run all kinds in turn; figures of each, by name."""
    for name, minimum in dict(steps=1, warmup=0, repeats=1).items():
        require_at_least('the comparison', name, getattr(arguments, name),
                         minimum)
    shared = {
        'model.teacher.checkpoint': None,
        'model.teacher.allow_random_weights': True,
        **(arguments.cfg_options or {})
    }
    kinds = {f'commit {arguments.commit}': (earlier, shared)}
    for name, *words in arguments.variant or [['plain']]:
        kinds[name] = (ROOT, shared | options_of(words))
    runs: dict[str, list[dict]] = {name: [] for name in kinds}
    for _ in range(arguments.repeats):
        for name, (tree, options) in kinds.items():
            runs[name].append(measure(tree, arguments, options))
    return figures_of(kinds, runs)


def figures_of(kinds: dict[str, tuple[Path, dict]],
               runs: dict[str, list[dict]]) -> dict[str, dict[str, Any]]:
    """Means of all steps, and how much faster each kind is than the first:
    of each turn, because machines become slower and faster, and the median
    of these."""
    first = next(iter(runs.values()))
    figures = {}
    for name, found in runs.items():
        each = [
            sum(one['seconds']) / sum(other['seconds'])
            for one, other in zip(first, found)
        ]
        figures[name] = dict(
            options=kinds[name][1],
            seconds=statistics.mean(value for run in found
                                    for value in run['seconds']),
            rounds=statistics.mean(value for run in found
                                   for value in run['rounds']),
            times_as_fast=statistics.median(each),
            each=each,
            runs=found)
    return figures


def options_of(words: list[str]) -> dict[str, Any]:
    """The options of a variant, read as --cfg-options are."""
    parser = argparse.ArgumentParser()
    add_cfg_options(parser)
    return parser.parse_args(['--cfg-options', *words
                              ]).cfg_options if words else {}


def check_out(commit: str, folder: str) -> None:
    """Put the files of a commit into a folder."""
    archive = subprocess.run(['git', 'archive', commit],
                             cwd=ROOT,
                             capture_output=True)
    if archive.returncode != 0:
        raise UserError(f'{commit} cannot be checked out: '
                        f'{archive.stderr.decode().strip()}')
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter='data')


def main() -> None:
    """Check the commit out, measure, print, and write."""
    arguments = parse_arguments()
    with TemporaryDirectory() as folder:
        check_out(arguments.commit, folder)
        figures = compare(arguments, Path(folder))
    for name, row in figures.items():
        least, most = min(row['each']), max(row['each'])
        print(f'{name}: {row["seconds"]:.2f} s a student step with '
              f'{row["rounds"]:.2f} rounds, {row["times_as_fast"]:.2f} times '
              f'as fast ({least:.2f} to {most:.2f})')
    if arguments.json:
        write_json(
            Path(arguments.json),
            dict(
                commit=checkout_commit(),
                command=typed_command(sys.argv),
                config=arguments.config,
                kinds=figures))


if __name__ == '__main__':
    run_tool(main)
