"""The options besides Beaker's, as type checkers see them.

See :mod:`litesess.stores.keywords`.
"""

from __future__ import annotations

from collections.abc import Sequence

from litesess.stores.keywords import WALKeywords
from litesess.web.keywords import OptionalKeywords


class BeakerKeywords(OptionalKeywords, WALKeywords, total=False):
    """The keywords of :func:`litesess.beaker.from_beaker` besides Beaker's options and the path."""

    secret: str | bytes | Sequence[str | bytes]
