"""Names that nobody can register: for documentation, for special use, and for the self-test.

Rules:
- A demonstration list consists of `DOCUMENTATION` names (RFC 2606, RFC 6761); a production list holds none.
- No list holds a name below a `SPECIAL` top-level name (RFC 6761, 6762, 7686, 8375, 9476).
- The zone of the self-test is in no list: each image blocks one name of it, drawn for that image.
"""

from typing import Final

from resolver.core import image

DOCUMENTATION_TLDS: Final = frozenset({b"test", b"example", b"invalid"})
DOCUMENTATION_NAMES: Final = (b"example.com", b"example.net", b"example.org")
SPECIAL_TLDS: Final = frozenset({b"localhost", b"local", b"onion", b"arpa", b"alt", b"internal"})
SELFTEST_NAME: Final = image.SELFTEST_NAME.encode()
