"""Sphinx configuration: Markdown by MyST, API pages by autodoc, one for each module that ``api.py`` finds."""

import builtins
import importlib.util
import sys
from pathlib import Path
from types import FunctionType

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

import optics4f

project = "optics4f"
author = "The optics4f authors"
release = optics4f.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"optics4f {release}"
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
smartquotes_action = "qe"  # quotes and ellipses, but no dash for the -- of an option
autodoc_typehints = "signature"
autodoc_use_type_comments = False  # there are none, and looking for them takes its time
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_use_ivar = True


def write_api_pages(_: Sphinx) -> None:
    """Before the pages are looked for."""
    place = Path(__file__).with_name("api.py")
    specification = importlib.util.spec_from_file_location("docs_api", place)
    api = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = api  # dataclasses look there
    specification.loader.exec_module(api)
    api.write()


def name_targets(_: Sphinx, doctree: nodes.document) -> None:
    """A name in a signature means what it does in its module, not whatever has the same last name.

    Sphinx would link ``bytes`` to any attribute of that name, and warn of two classes ``Effect``.
    """
    for link in list(doctree.findall(addnodes.pending_xref)):
        target = link.get("reftarget", "")
        if link.get("refdomain") != "py" or not target.isidentifier():
            continue
        meant = getattr(sys.modules.get(link.get("py:module")), target, None)
        if isinstance(meant, type | FunctionType) and meant.__module__ != "builtins":
            link["reftarget"] = f"{meant.__module__}.{meant.__qualname__}"
        elif hasattr(builtins, target) or (meant is not None and link.get("reftype") == "class"):  # such as a Literal
            link.replace_self(link.children)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("builder-inited", write_api_pages)
    app.connect("doctree-read", name_targets)
