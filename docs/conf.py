"""How Sphinx makes the site: ``sphinx-build -W -b html docs docs/_build/html``."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

project = "xtranscode"
copyright = "the authors of xtranscode; Apache-2.0"
html_title = "xtranscode"
html_theme = "furo"
html_show_sphinx = False
exclude_patterns = ["_build"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "numpydoc",
    "from_code",
]
# A link to a heading that is not there is a warning, and so fails the build; so is a name in a
# docstring that is nowhere in the code.
nitpicky = True
myst_heading_anchors = 3
default_role = "py:obj"

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
numpydoc_show_class_members = False  # autodoc lists them.
