"""Defines the facts that an authority signs about a list, and the size limits of the metadata that carry them.

Rules:
- The facts stand in the `custom` of the list's target, in the top-level targets role, so that the
  thresholds of the targets keys cover them; dates are whole unix seconds in UTC.
- `entries` is present only if the authority stated the number: it announces a change of size.
- An encrypted target has `encryption` (how) and `plain`, the SHA-256 of the list in clear. `plain` identifies the list
  everywhere: each recipient gets another ciphertext, and encrypting again gives a new one.
- Unknown fields are ignored, so that an authority may add its own.
"""

import re
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

MAX_SERIAL: Final = 2**63 - 1
_Date = Annotated[int, Meta(ge=0, le=2**40)]

_OPTIONAL: Final = ("entries", "encryption", "plain")

MAX_ROOT_BYTES: Final = 512_000
MAX_TIMESTAMP_BYTES: Final = 16_384
MAX_SNAPSHOT_BYTES: Final = 65_536
MAX_TARGETS_BYTES: Final = 1_000_000
MAX_ROOT_ROTATIONS: Final = 256


class CustomMalformed(Exception):
    """The signed facts of a list are missing or out of bounds. field: which, "" if there are no facts; missing: it is
    not there."""

    def __init__(self, said: str, field: str = "", *, missing: bool = False) -> None:
        super().__init__(said)
        self.field = field
        self.missing = missing


_FIELD: Final = re.compile(r"(?:missing required field `|.* - at `\$\.)(\w+)", re.DOTALL)


class Custom(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The signed facts of one list; `expires` is the list's own hard limit, None if it has none."""

    list: Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,32}\Z")]
    serial: Annotated[int, Meta(ge=1, le=MAX_SERIAL)]
    issued: _Date
    expires: _Date | None
    withdrawn: bool
    entries: Annotated[int, Meta(ge=0, le=2**32)] | None = None
    encryption: Literal["age"] | None = None
    plain: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")] | None = None


def custom_of(value: object) -> Custom:
    """Return the facts in a target's `custom`; CustomMalformed if they are not valid."""
    try:
        custom = msgspec.convert(value, Custom)
    except msgspec.ValidationError as error:
        found = _FIELD.search(str(error))
        field = found[1] if found and found[1] in Custom.__struct_fields__ else ""
        raise CustomMalformed("custom", field, missing="missing" in str(error)) from None
    if (custom.encryption is None) is not (custom.plain is None):
        field = "encryption" if custom.encryption is None else "plain"
        raise CustomMalformed("encryption and plain must both be present or both absent", field, missing=True)
    return custom


def to_json(custom: Custom) -> dict[str, object]:
    """Return the facts as the value of a target's `custom`."""
    return {
        key: value
        for key, value in msgspec.structs.asdict(custom).items()
        if key not in _OPTIONAL or value is not None
    }
