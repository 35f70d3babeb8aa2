"""The modes of files: which rights of other users are taken away, and when."""

from __future__ import annotations

import enum
import stat
from typing import Final

#: The rights of other users, and those of them to write.
OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH


class Widened(enum.Enum):
    """The treatment of a file or directory of ours that other users were allowed to write to."""

    REPAIR = "take those rights away"
    REFUSE = "raise an error"
    IGNORE = "nothing, as it is only looked at"
