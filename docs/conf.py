"""How Sphinx builds this folder: ``python -m sphinx -W -b html docs build/docs``."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import litesess  # noqa: E402  # the folder above must be on the path first

project = "litesess"
author = "The litesess authors"
copyright = author  # noqa: A001 - Sphinx' name
version = release = litesess.__version__

extensions = ["links", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
html_theme = "furo"
html_title = f"litesess {release}"
html_copy_source = False

# Literal blocks without a language are commands and output.
highlight_language = "none"
# Keep -- and straight quotation marks, as they stand in options and code.
smartquotes = False

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
# Arguments stand in the docstring of __init__.
autoclass_content = "both"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# Copy the commands alone, without the prompts and the answers.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
