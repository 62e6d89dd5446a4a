"""Two machines, as far as the network goes."""
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tool_processes import ROOT

from tadfkd.checkpoints.reading import read_checkpoint


@pytest.fixture
def hosts() -> Iterator[list[str]]:
    """Two network namespaces, 10.213.71.1 and .2, which are connected with
    each other and with nothing else."""
    number = os.getpid()
    names = [f'tadfkd{number}a', f'tadfkd{number}b']
    ends = [f'v{number}a', f'v{number}b']
    commands = [f'netns add {name}' for name in names]
    commands.append(f'link add {ends[0]} type veth peer name {ends[1]}')
    for place, (name, end) in enumerate(zip(names, ends), 1):
        commands += [
            f'link set {end} netns {name}',
            f'-n {name} link set {end} name eth0',
            f'-n {name} addr add 10.213.71.{place}/24 dev eth0',
            f'-n {name} link set eth0 up', f'-n {name} link set lo up'
        ]
    try:
        for command in commands:
            try:
                process = subprocess.run(['ip', *command.split()],
                                         capture_output=True,
                                         text=True)
            except FileNotFoundError:
                pytest.skip('there is no ip command')
            if process.returncode != 0:
                pytest.skip(f'ip {command}: {process.stderr.strip()}')
        yield names
    finally:
        for name in names:
            # This also removes its end of the connection.
            subprocess.run(['ip', 'netns', 'del', name], capture_output=True)


@pytest.mark.long
def test_two_hosts_train_one_student(hosts: list[str], digits_config: str,
                                     tiny_options: dict[str, Any],
                                     tmp_path: Path) -> None:
    options = tiny_options | {
        'train_cfg.max_epochs': 1,
        'default_hooks.report': None
    }
    words = [f'{key}={value}' for key, value in options.items()]
    processes = [
        subprocess.Popen([
            'ip', 'netns', 'exec', host, ROOT / 'tools/dist_train.sh',
            digits_config, '1', '--work-dir', tmp_path / host, '--no-eval',
            '--cfg-options', *words
        ],
                         cwd=ROOT,
                         env=dict(
                             os.environ,
                             PYTHON=sys.executable,
                             NNODES='2',
                             NODE_RANK=str(node),
                             MASTER_ADDR='10.213.71.1',
                             PORT='29500',
                             GLOO_SOCKET_IFNAME='eth0'),
                         stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT,
                         text=True) for node, host in enumerate(hosts)
    ]
    for process in processes:
        output = process.communicate(timeout=240)[0]
        assert process.returncode == 0, output
    # The first host writes, for both.
    checkpoint = read_checkpoint(tmp_path / hosts[0] / 'epoch_1.pth')
    first, second = checkpoint['training_state']
    assert first['counters']['steps']['student'] == 4
    assert second['counters']['steps']['student'] == 4
    assert not first['streams']['latents'].equal(second['streams']['latents'])
    assert not [*(tmp_path / hosts[1]).glob('*.pth')]
