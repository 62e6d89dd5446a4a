"""What a distillation leaves: its student, its figures and its files."""
import base64
import html
import json
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.config import Config

from tadfkd.apis.student_export import (export_from, newest_checkpoint,
                                        newest_model)
from tadfkd.export.formats import FORMATS
from tadfkd.export.student_module import WEIGHTS, Student
from tadfkd.export.writing import student_of
from tadfkd.report.page import verdict

#: Rows of a run's table, and the number of ``summary.json`` for each.
_ROWS = {
    'teacher, real images': 'teacher_top1',
    'student, real images': 'student_top1_last',
    'both agree, generated images': 'agreement_last'
}


class Run:
    """A distillation that has ended. A notebook shows it as a page.

    Args:
        config: Of the run. Networks that were given as objects are in it.
    """

    def __init__(self, config: Config) -> None:
        self.config = config

    @property
    def work_dir(self) -> Path:
        """The folder of all files of the run."""
        return Path(self.config.work_dir)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The content of ``summary.json``; accuracies are in percent."""
        return json.loads((self.work_dir / 'summary.json').read_text())

    @property
    def checkpoint(self) -> Path:
        """The newest intact checkpoint.

        Raises:
            UserError: If there is none.
        """
        return newest_checkpoint(self.config)

    @cached_property
    def student(self) -> Student:
        """The student of that checkpoint, on the CPU and in eval mode.

        It maps images, float32 (B, C, H, W) in [0, 1], to (B, K) logits;
        colour images are RGB. A network of the user's own is
        ``student.network.network``.
        """
        return student_of(newest_model(self.config), self.config)

    def export(self, format: str = 'torch.export') -> Path:
        """Write the student to ``student/`` in one more format.

        Args:
            format: ``'safetensors'``, ``'torch.export'``, ``'onnx'``,
                ``'onnx-int8'``, ``'torchscript'`` or ``'mmpretrain'``.

        Returns:
            The file, or the first one of its format.

        Raises:
            UserError: See :func:`tadfkd.export.write_student`.
        """
        folder = export_from(self.config, [format])
        return folder / (
            WEIGHTS if format == 'safetensors' else FORMATS[format].files[0])

    @property
    def verdict(self) -> str:
        """One sentence on how the run has ended."""
        return verdict(self.summary)

    def __repr__(self) -> str:
        """The verdict, and where the files are."""
        return f'{self.verdict} Files are in {self.work_dir}.'

    def _repr_html_(self) -> str:
        """The page of a notebook."""
        rows = [(name, f'{self.summary[key]:.2f} %')
                for name, key in _ROWS.items() if self.summary[key] is not None
                ] + [('student steps', self.summary['student_steps']),
                     ('time', f'{self.summary["wall_seconds"]} s'),
                     ('algorithm', self.summary['algorithm']),
                     ('files', self.work_dir),
                     ('report', self.work_dir / 'report.html')]
        table = ''.join(f'<tr><td>{html.escape(name)}</td>'
                        f'<td>{html.escape(str(value))}</td></tr>'
                        for name, value in rows)
        page = f'<p><b>{html.escape(self.verdict)}</b></p>' \
            f'<table>{table}</table>'
        samples = self.work_dir / 'samples.png'
        if samples.is_file():
            data = base64.b64encode(samples.read_bytes()).decode()
            page += '<p>Images of the generator:</p>' \
                f'<img alt="samples" src="data:image/png;base64,{data}">'
        return page
