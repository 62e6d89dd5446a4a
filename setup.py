"""Packaging of tadfkd."""
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def version() -> str:
    """The version, read without importing the package."""
    scope: dict = {}
    exec((ROOT / 'tadfkd' / 'version.py').read_text(), scope)
    return scope['__version__']


setup(
    name='tadfkd',
    version=version(),
    description='Teacher-agnostic data-free knowledge distillation',
    long_description=(ROOT / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['tadfkd', 'tadfkd.*']),
    package_data={'tadfkd': ['py.typed']},
    python_requires='>=3.10',
    install_requires=[
        'torch>=2.6',
        'torchvision>=0.21',
        'mmengine>=0.10.4,<0.11',
        'mmpretrain>=1.2,<1.3',
        'numpy>=1.24',
        'pillow>=10',
        'safetensors>=0.4,<1',
        'matplotlib>=3.7',
        # mmengine needs pkg_resources, which later releases do not have.
        'setuptools<81',
    ],
    extras_require={
        # Optional, because mmcv and mmcv-lite install the same module. Use
        # this extra unless the full mmcv is installed.
        'mmcv-lite': ['mmcv-lite>=2.0,<2.3'],
        # The handwritten digits of the demo.
        'digits': ['scikit-learn>=1.3'],
        # Teachers from these libraries.
        'timm': ['timm>=1.0,<1.1'],
        'transformers': ['transformers>=4.40,<6'],
        # Writing a student as ONNX, and checking the file.
        'onnx':
        ['onnx>=1.17,<2', 'onnxscript>=0.5,<1', 'onnxruntime>=1.20,<2'],
        'tests': ['pytest>=7', 'pytest-xdist>=3.2', 'scikit-learn>=1.3'],
    })
