"""The page about a run, as a browser shows it."""
import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from tadfkd.apis import Run, distill, load_config
from tadfkd.engine.hooks.report import changed_settings
from tadfkd.errors import UnhealthyRun, UserError
from tadfkd.report.page import verdict, write_report

BROWSER = shutil.which('chromium')

# In a frame of a certain width: does the page fit, and what does it say?
LOOK = """
window.onload = () => {
  console.error('errors are seen');
  document.getElementById('found').textContent = JSON.stringify(
    [...document.querySelectorAll('iframe')].map(frame => {
      const page = frame.contentDocument, root = page.documentElement;
      return {
        fits: root.scrollWidth <= frame.clientWidth,
        verdict: page.getElementById('verdict').innerText,
        missing: (page.getElementById('missing') || {}).innerText,
        values: Object.fromEntries([...page.querySelectorAll('[data-key]')]
          .map(part => [part.dataset.key, [part.dataset.value,
                                           part.innerText]])),
        cells: [...page.querySelectorAll('#confusion td')].map(
          cell => Number(cell.innerText)),
        curves: page.querySelectorAll('svg polyline').length,
        pictures: [...page.images].map(image => image.naturalWidth),
        scripts: page.scripts.length,
      };
    }));
};
"""


def browse(pages: list[Path], folder: Path) -> list[dict[str, Any]]:
    """What Chromium shows of pages, 390 and 1440 pixels wide."""
    frames = ''.join(f'<iframe width="{width}" height="800" '
                     f'srcdoc="{html.escape(page.read_text())}"></iframe>'
                     for page in pages for width in (390, 1440))
    outer = folder / 'frames.html'
    outer.write_text('<!doctype html><meta charset="utf-8"><style>iframe '
                     f'{{border: 0}}</style>{frames}<pre id="found"></pre>'
                     f'<script>{LOOK}</script>')
    process = subprocess.run([
        BROWSER or '', '--headless', '--no-sandbox', '--disable-gpu',
        '--enable-logging=stderr', f'--user-data-dir={folder / "profile"}',
        '--dump-dom',
        outer.as_uri()
    ],
                             capture_output=True,
                             text=True,
                             timeout=120,
                             check=True)
    said = re.findall(r'CONSOLE.*', process.stderr)
    assert len(said) == 1 and 'errors are seen' in said[0]
    found = re.search(r'<pre id="found">(.*?)</pre>', process.stdout, re.S)
    assert found is not None
    return json.loads(html.unescape(found[1]))


@pytest.fixture
def work_dir(finished_run: Run) -> Path:
    """Of a finished run of two tiny epochs, with all of its files."""
    return finished_run.work_dir


@pytest.fixture
def collapsed(work_dir: Path, tmp_path: Path) -> Path:
    """Files of the same run, but with two classes and a hostile name."""
    folder = tmp_path / 'collapsed'
    shutil.copytree(work_dir, folder)
    change(
        folder / 'summary.json',
        unhealthy_epochs=[2],
        findings=['class_entropy is 0.1, below 0.3'])
    history = json.loads((folder / 'history.json').read_text())
    history['epochs'][-1] |= dict(
        findings=['class_entropy is 0.1, below 0.3'],
        class_entropy=0.1,
        class_histogram=[200, 56] + [0] * 8)
    change(folder / 'history.json', **history)
    names = ['<script>console.error("run")</script>', *'bcdefghij']
    change(folder / 'report.json', class_names=names)
    write_report(folder)
    return folder


def change(path: Path, **values: Any) -> None:
    """Replace values in a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.skipif(BROWSER is None, reason='there is no chromium')
def test_a_browser_shows_the_numbers_of_the_summary(work_dir: Path,
                                                    collapsed: Path,
                                                    tmp_path: Path) -> None:
    shown = browse([work_dir / 'report.html', collapsed / 'report.html'],
                   tmp_path)
    summary = json.loads((work_dir / 'summary.json').read_text())
    assert len(shown) == 4
    for page in shown:
        assert page['fits'] and page['scripts'] == 0
        values = {
            key: json.loads(value)
            for key, (value, _) in page['values'].items()
        }
        assert values == {key: summary[key] for key in values}
        assert {
            'teacher_top1', 'student_top1_last', 'agreement_last',
            'student_steps'
        } <= values.keys()
        top1 = page['values']['student_top1_last'][1]
        assert top1 == f'{summary["student_top1_last"]:.2f} %'
        assert page['curves'] >= 10
        assert len(page['pictures']) == 1 and page['pictures'][0] > 800
        # The 8 held-out images of the options, in a matrix of 10 classes.
        assert len(page['cells']) == 100 and sum(page['cells']) == 8
        agreed = sum(page['cells'][::11])
        assert 100 * agreed / 8 == pytest.approx(summary['agreement_last'])
    assert shown[0]['verdict'] == verdict(summary)
    assert shown[2]['verdict'] == 'The run was unhealthy in epoch 2: ' \
        'class_entropy is 0.1, below 0.3.'
    assert shown[2]['missing'] == '8 of 10 classes have no image among 256 ' \
        'held-out ones, by the teacher: c, d, e, f, g, h, i, j.'


def test_the_page_is_written_again_without_torch(work_dir: Path) -> None:
    page = work_dir / 'report.html'
    before = page.read_text()
    page.unlink()
    code = 'import sys\nfrom tadfkd.report.page import write_report\n' \
        'write_report(sys.argv[1])\n' \
        'assert not {"torch", "mmengine", "matplotlib"} & {*sys.modules}'
    subprocess.run([sys.executable, '-c', code, work_dir], check=True)
    assert page.read_text() == before


def test_the_page_needs_nothing_else_and_says_all(work_dir: Path) -> None:
    page = (work_dir / 'report.html').read_text()
    assert len(page) < 1_000_000
    assert not re.search(r'(src|href)="(?!data:)|@import|url\(', page)
    for text in ('train_cfg.max_epochs', 'model.teacher.checkpoint',
                 f'--work-dir {work_dir} --resume',
                 f'tadfkd report {work_dir}', 'safetensors', 'channel_order',
                 'Losses of the generator', 'at least 0.3'):
        assert text in page, text
    description = json.loads((work_dir / 'student/config.json').read_text())
    largest = description['parity']['torch.export']['largest_difference']
    assert f'{largest:.2g}' in page
    assert (work_dir / 'curves.png').is_file()


def test_what_files_say_is_no_markup(collapsed: Path) -> None:
    page = (collapsed / 'report.html').read_text()
    assert '<script>' not in page and '&lt;script&gt;console' in page


def test_a_run_of_many_classes_lists_the_differences(collapsed: Path) -> None:
    change(collapsed / 'summary.json', num_classes=100)
    change(
        collapsed / 'report.json',
        class_names=None,
        confusion=[[3, 3, 5], [40, 7, 2], [41, 7, 1]])
    page = write_report(collapsed).read_text()
    rows = re.findall(r'<tr><td>(\d+)</td><td>(\d+)</td><td>(\d+) of 8', page)
    assert rows == [('40', '7', '2'), ('41', '7', '1')]


def test_a_folder_without_a_run_has_no_page(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='has no summary.json'):
        write_report(tmp_path)
    (tmp_path / 'summary.json').write_text('{')
    with pytest.raises(UserError, match='summary.json is not JSON'):
        write_report(tmp_path)
    assert not (tmp_path / 'report.html').exists()


def test_a_run_that_its_health_ends_has_a_page(
        digits_config: str, tiny_options: dict[str, Any], tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    # Other tests do without.
    monkeypatch.setattr('tadfkd.engine.hooks.report.write_report',
                        write_report)
    with pytest.raises(UnhealthyRun):
        distill(
            digits_config,
            options=tiny_options | {
                'default_hooks.health.action': 'stop',
                'default_hooks.health.warmup_epochs': 0,
                'default_hooks.health.thresholds': dict(min_class_entropy=1.1)
            },
            work_dir=str(tmp_path),
            evaluate=False)
    page = (tmp_path / 'report.html').read_text()
    assert 'The run was unhealthy in epoch 1: class_entropy is' in page
    assert 'below 1.1' in page and 'The run has not finished' in page


def test_settings_are_compared_with_what_the_config_inherits(
        digits_config: str, tiny_options: dict[str, Any]) -> None:
    options = tiny_options | {'model.student_loss.loss_weight': 2.0}
    config = load_config(digits_config, options)
    changed = {
        key: (before, now)
        for key, before, now in changed_settings(config) or []
    }
    # In the base, in the file itself, and in the options only.
    assert changed['train_cfg.max_epochs'] == ("200", '2')
    assert changed['optim_wrapper.student.optimizer.lr'][1] == '0.1'
    assert changed['model.student_loss.loss_weight'] == ('', '2.0')
    assert not any(
        key.startswith(('default_hooks.health', 'teacher', 'work'))
        for key in changed)
    assert 'model.data_preprocessor.mean' not in changed
    width = 'model.student.backbone.base_channels'
    assert changed[width] == ('8', '4')
    assert changed_settings(Config(dict(model=None))) is None
