"""How fast is training, how much memory does it need, and what does a kill
leave behind?

``python -m benchmarks --help`` lists the commands. This package is not in the
wheel.
"""
