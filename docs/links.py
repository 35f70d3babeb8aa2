"""An extension of Sphinx for these pages.

Links by file names, which are clickable on a forge, lead to the pages of the site.

A link to ``flask.rst#commands`` becomes one to that page's section; a page or section that does
not exist is a warning.  A link to another file of the project becomes a download of that file.
The links of an included text, such as README.rst, are relative to that text's own file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils import get_source_line
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

logger = logging.getLogger(__name__)

#: The pages that include a file from above this folder.
INCLUDED = {"README.rst": "index", "CHANGES.rst": "changes"}
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


class FileLinks(SphinxTransform):
    """Note the page that each link by a file's name leads to."""

    default_priority = 750  # after the targets of links are known

    def apply(self, **_: Any) -> None:
        """Change the links of one page."""
        docs = Path(self.env.srcdir).resolve()
        for link in list(self.document.findall(nodes.reference)):
            target, _hash, fragment = link.get("refuri", "").partition("#")
            if not target or _SCHEME.match(target):
                continue
            source, _line = get_source_line(link)
            beside = Path(source or self.env.doc2path(self.env.docname)).resolve().parent
            path = (beside / target).resolve()
            if not path.is_file():
                logger.warning("link to a file that does not exist: %s", target, location=link)
            elif path.suffix == ".rst" and path.parent == docs:
                link["page"], link["fragment"] = path.stem, fragment
            elif path.parent == docs.parent and path.name in INCLUDED:
                link["page"], link["fragment"] = INCLUDED[path.name], fragment
            else:
                inside = path.relative_to(docs.parent)
                download = addnodes.download_reference(
                    "", "", *link.children, refdoc=self.env.docname, reftarget=f"/../{inside}"
                )
                link.replace_self(download)


def resolve(app: Sphinx, doctree: nodes.document, name: str) -> None:
    """Let the links of the page *name* lead to their pages, as the builder names these."""
    for text in list(doctree.findall(nodes.Text)):
        if text == " -- ":  # Sphinx writes it between an exception and its reason
            text.parent.replace(text, nodes.Text(": "))
    for link in doctree.findall(nodes.reference):
        if "page" not in link:
            continue
        page, fragment = link["page"], link["fragment"]
        link["refuri"] = app.builder.get_relative_uri(name, page)
        link["internal"] = True
        if fragment:
            link["refuri"] += f"#{fragment}"
            ids = {
                one
                for node in app.env.get_doctree(page).findall()
                for one in getattr(node, "attributes", {}).get("ids", ())
            }
            if fragment not in ids:
                logger.warning("%s has no section #%s", page, fragment, location=link)


def keep_colons(*given: Any) -> None:
    """Keep napoleon from taking a property's first words, up to a colon, for its type."""
    _app, what, _name, _object, _options, lines = given
    if what in {"attribute", "property"}:
        lines[:0] = ["..", ""]  # an empty comment


def setup(app: Sphinx) -> dict[str, bool]:
    """Install the extension."""
    app.setup_extension("sphinx.ext.autodoc")
    app.add_transform(FileLinks)
    app.connect("doctree-resolved", resolve)
    app.connect("autodoc-process-docstring", keep_colons, priority=400)  # before napoleon
    return {"parallel_read_safe": True, "parallel_write_safe": True}
