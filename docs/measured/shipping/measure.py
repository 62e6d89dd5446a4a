"""Export the student of a run, and read each file without tadfkd.

The 599 test digits are classified. Usage: python measure.py WORK_DIR
"""
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks.records import write_record
from tadfkd.apis import export_student
from tadfkd.apis.config import load_config
from tadfkd.apis.student_export import newest_model
from tadfkd.datasets import Digits
from tadfkd.export import FORMAT_NAMES

HERE = Path(__file__).resolve().parent


@torch.no_grad()
def main(work_dir: Path) -> None:
    folder = export_student(work_dir, FORMAT_NAMES).resolve()
    items = Digits('test', 16).load_data_list()
    images_BHWC = np.stack([item['img'] for item in items])
    images_BCHW = (images_BHWC.transpose(0, 3, 1, 2) / 255).astype(np.float32)
    labels_B = np.array([item['gt_label'] for item in items])

    # The student in the checkpoint, which no file was read for.
    [config] = work_dir.glob('*.py')
    model = newest_model(load_config(config, work_dir=str(work_dir))).eval()
    expected_BK = model.result_logits(torch.from_numpy(images_BCHW)).numpy()

    results = {}
    with tempfile.TemporaryDirectory() as other:
        np.save(Path(other, 'images.npy'), images_BCHW)
        for form in FORMAT_NAMES:
            # The folder of the repository is not on the path of the process.
            subprocess.run([
                sys.executable, '-W', 'ignore', HERE / 'classify.py', form,
                folder, 'images.npy', 'logits.npy'
            ],
                           cwd=other,
                           env={},
                           check=True)
            found_BK = np.load(Path(other, 'logits.npy'))
            results[form] = dict(
                equal_predictions=int(
                    (found_BK.argmax(1) == expected_BK.argmax(1)).sum()),
                largest_difference=float(
                    f'{np.abs(found_BK - expected_BK).max():.2g}'))
            print(form, results[form], flush=True)
    write_record(
        HERE / 'record.json',
        dict(
            command='sh docs/measured/shipping/run.sh',
            images=len(items),
            correct=int((expected_BK.argmax(1) == labels_B).sum()),
            deviation_of_logits=round(float(expected_BK.std()), 2),
            formats=results))


if __name__ == '__main__':
    main(Path(sys.argv[1]))
