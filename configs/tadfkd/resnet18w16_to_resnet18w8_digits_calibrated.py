# TA-DFKD with three parts of AgnosticDFKD: procedural images first and
# beside, weights from gradients, and targets in units of the teacher.
_base_ = './resnet18w16_to_resnet18w8_digits.py'
model = dict(
    procedural=dict(
        families=[
            dict(type='SpectralFields'),
            dict(type='Blobs'),
            dict(type='Strokes')
        ],
        size=8192,
        num_candidates=131072,
        share=0.5,
        alone=0.05),
    loss_shares=dict(adversarial=1.0, bn=1.0, l2=0.1, tv=0.1),
    scale_targets=True)
