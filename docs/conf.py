"""Configuration of Sphinx."""
from tadfkd import __version__

project = 'tadfkd'
copyright = 'the tadfkd authors'
release = __version__
extensions = [
    'myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon',
    'sphinx.ext.viewcode'
]
html_theme = 'furo'
exclude_patterns = ['_build']
autodoc_member_order = 'bysource'
autodoc_typehints = 'signature'
# Members that torch and mmengine document.
autodoc_default_options = {
    'members': True,
    'show-inheritance': True,
    'exclude-members': 'training'
}
myst_heading_anchors = 3
