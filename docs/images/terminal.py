"""Draws what a terminal shows as ``terminal.svg``, beside this file.

While a run goes on in tmux, in a window of 112 columns::

    tmux capture-pane -e -p -t WINDOW | python docs/images/terminal.py
"""
import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

lines = sys.stdin.read().rstrip('\n')
console = Console(record=True, width=112, file=io.StringIO())
console.print(Text.from_ansi(lines))
svg = console.export_svg(title='tadfkd train')
# A picture needs no fonts from the network.
svg = re.sub(r'@font-face \{.*?\}\s*', '', svg, flags=re.DOTALL)
Path(__file__).with_suffix('.svg').write_text(svg)
