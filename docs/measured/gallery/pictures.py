"""Pictures of the reports of run.sh, and the numbers that they show.

Usage: python pictures.py FOLDER
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from benchmarks.records import write_record
from tadfkd.report.page import write_report

HERE = Path(__file__).parent
IMAGES = HERE.parents[1] / 'images'
#: Height of a picture in pixels, at a width of 1440: down to the curves.
HEIGHT = 2720
SHOWN = ('student_top1_last', 'teacher_top1', 'agreement_last',
         'unhealthy_epochs', 'findings', 'student_steps', 'wall_seconds')


def picture(page: Path, out: Path, height: int, width: int = 1000) -> None:
    """A small picture of the top of a page."""
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder, 'shot.png')
        subprocess.run([
            'chromium', '--headless', '--no-sandbox', '--disable-gpu',
            '--hide-scrollbars', f'--user-data-dir={folder}/profile',
            f'--window-size=1440,{height}', f'--screenshot={shot}',
            page.resolve().as_uri()
        ],
                       check=True,
                       capture_output=True)
        with Image.open(shot) as image:
            small = image.convert('RGB').resize(
                (width, height * width // 1440), Image.Resampling.LANCZOS)
            # Without dither, flat areas stay flat.
            small.quantize(
                200, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
                    out, optimize=True)


def main() -> None:
    results = {}
    for name in ('healthy', 'collapsed', 'vit'):
        run = Path(sys.argv[1], name)
        picture(write_report(run), IMAGES / f'report_{name}.png', HEIGHT)
        summary = json.loads((run / 'summary.json').read_text())
        results[name] = {key: summary[key] for key in SHOWN}
    # The top, for the first page of the project.
    picture(
        Path(sys.argv[1], 'healthy', 'report.html'), IMAGES / 'report.png',
        1270, 760)
    write_record(HERE / 'record.json',
                 dict(command='sh docs/measured/gallery/run.sh') | results)


if __name__ == '__main__':
    main()
