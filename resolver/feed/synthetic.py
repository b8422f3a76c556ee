"""The label of the synthetic name that every image blocks and no list holds: 26 base32 characters."""

import base64
import secrets
from collections.abc import Callable


def label(random: Callable[[int], bytes] = secrets.token_bytes) -> bytes:
    """A new label, of the octets `random(16)` gives."""
    return base64.b32encode(random(16)).rstrip(b"=").lower()
