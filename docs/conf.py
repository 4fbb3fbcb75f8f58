"""Settings of Sphinx. `make docs` builds the pages into `docs/_build/html`; warnings are errors."""

import importlib.metadata
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from docs.extension import shared_run  # noqa: E402

project = "attention-transformer"
author = "The attention-transformer authors"
copyright = "2026, the attention-transformer authors"
release = importlib.metadata.version("attention-transformer")

extensions = [
    "docs.extension.build",
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx-mathjax-offline",
]
exclude_patterns = ["_build", "generated", "**/.ipynb_checkpoints"]
highlight_language = "none"
smartquotes = False  # -- begins an option

# Markdown and notebooks. A cell that fails ends the build.
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 1_800
nb_merge_streams = True
shared_run.set_up_notebooks(HERE / "_build" / "work")

# Docstrings.
autodoc_member_order = "bysource"
autodoc_class_signature = "separated"  # fields are documented one by one
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
python_maximum_signature_line_length = 88
add_module_names = False

# Pages. Nothing is loaded from a network.
html_theme = "sphinx_book_theme"
html_title = "attention-transformer"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_show_sourcelink = False
html_theme_options = {
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_toc_level": 2,
    "home_page_in_toc": False,
}
html_last_updated_fmt = None
os.environ["COLUMNS"] = "88"  # width of the help of commands
