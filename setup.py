"""Packaging of tadfkd, of which pyproject.toml has every fact."""
from setuptools import setup

setup()
