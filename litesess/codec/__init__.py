"""Session data as bytes, and back."""

from litesess.codec.frames import (
    IMMUTABLE,
    MAX_KEY_BYTES,
    Encoded,
    Frames,
    check_key,
    decode,
    decode_all,
    encode,
    encode_items,
)
from litesess.codec.tagged import MAX_DEPTH

__all__ = [
    "IMMUTABLE",
    "MAX_DEPTH",
    "MAX_KEY_BYTES",
    "Encoded",
    "Frames",
    "check_key",
    "decode",
    "decode_all",
    "encode",
    "encode_items",
]
