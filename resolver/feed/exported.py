"""The messages between the service, the compile process and the export process, over the export process's socket.

    compile -> export   Stage, and behind it the names of one list: the only message with listed names
    service -> export   Follow: which of these lists are in force; Release: a name that this host has released
    export -> service   Status: counts, serials and ids

Rules:
- A connection carries one message: a line of JSON, for Stage the octets that it announces, and one line in return.
- No message asks for a name, and no reply holds one: the export process gives names to secondaries only.
- A staged list is known by its generation and its digest: generations begin again when the state folder is lost.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

MAX_LINE_BYTES: Final = 2**23
MAX_NAMES_BYTES: Final = 2**30
MAX_ENTRIES_BYTES: Final = 2**28
DIGEST_LETTERS: Final = 16
"""So much of a list's digest is in a key."""

_Id = Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,32}\Z")]
_Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Key = Annotated[str, Meta(pattern=r"^([0-9]{1,19}-[0-9a-f]{16})?\Z")]
"""Of `key_of`, or "": it is a part of a file's name."""
_Generation = Annotated[int, Meta(ge=1, le=2**63 - 1)]


class _Message(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="verb"):
    """A message, one line of JSON."""


def key_of(generation: int, digest: str) -> str:
    """Return the key of a staged list, which is also a part of a file's name."""
    return f"{generation}-{digest[:DIGEST_LETTERS]}"


class Stage(_Message, frozen=True, tag="stage"):
    """A compiled list: `names` octets of names in wire format follow, then u16 flags and u32 line numbers of `entries`.

    selftest: the label of the image's synthetic name.
    """

    list: _Id
    serial: int
    generation: _Generation
    digest: _Digest
    selftest: Annotated[str, Meta(pattern=r"^[a-z2-7]{26}\Z")]
    names: Annotated[int, Meta(ge=0, le=MAX_NAMES_BYTES)]
    entries: Annotated[int, Meta(ge=0, le=MAX_ENTRIES_BYTES)]

    @property
    def octets(self) -> int:
        """The number of octets that follow."""
        return self.names + 6 * self.entries

    @property
    def key(self) -> str:
        """The key of this list."""
        return key_of(self.generation, self.digest)


class Followed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One list as the service enforces it.

    key: of the list in force, "" if it blocks nothing. keep: keys that may come in force. aside: numbers of the lines
    that do not block. until: when it is lifted by itself (unix seconds), 0 for never. answer, addresses: as configured.
    """

    list: _Id
    key: _Key = ""
    serial: int = 0
    keep: tuple[_Key, ...] = ()
    aside: tuple[int, ...] = ()
    until: int = 0
    answer: Literal["page", "nodata", "nxdomain"] = "page"
    addresses: tuple[str, ...] = ()


class Follow(_Message, frozen=True, tag="follow"):
    """All lists of the service, and the numbers of the releases in effect."""

    lists: tuple[Followed, ...]
    released: tuple[int, ...] = ()


class Release(_Message, frozen=True, tag="release"):
    """A released name, in wire format as hex, until a moment (unix seconds)."""

    number: Annotated[int, Meta(ge=1)]
    name: Annotated[str, Meta(pattern=r"^([0-9a-f]{2}){2,255}\Z")]
    until: int


Message = Stage | Follow | Release
MESSAGE: Final = msgspec.json.Decoder(Message)


class ZoneStatus(Struct, frozen=True, kw_only=True):
    """One zone or table as it is given out.

    name: of the zone, or the file. behind: how many addresses of `notify` have not transferred this serial. left_out:
    names that are too long below the zone, or exceptions that the profile cannot express.
    """

    name: str
    serial: int
    records: int
    behind: int = 0
    left_out: int = 0


class Status(Struct, frozen=True, kw_only=True):
    """What the export process holds and gives out.

    staged: keys by list. in_step: the lists that are given out as they were followed last. lacking: releases whose
    names are unknown here. refused, whole, differences: queries and connections refused, whole transfers and
    incremental ones, since the start.
    """

    staged: dict[str, tuple[str, ...]] = {}
    in_step: tuple[str, ...] = ()
    zones: tuple[ZoneStatus, ...] = ()
    lacking: tuple[int, ...] = ()
    refused: int = 0
    whole: int = 0
    differences: int = 0


class ZoneRequest(Struct, frozen=True, kw_only=True):
    """A zone as configured; lists: ids in configured order. page: "" for none."""

    name: str
    lists: tuple[str, ...]
    profile: str
    keys: tuple[str, ...]
    secondaries: tuple[str, ...]
    notify: tuple[tuple[str, int], ...] = ()
    page: str = ""


class TableRequest(Struct, frozen=True, kw_only=True):
    """A table as configured."""

    file: str
    lists: tuple[str, ...]


class ExportRequest(Struct, frozen=True, kw_only=True):
    """What the export process is started with, one line of JSON; fields as in `[export]`.

    state: the service's folder, which this process must not be able to read. demonstration: every list is one.
    """

    socket: str
    directory: str
    state: str
    demonstration: bool
    listen: tuple[tuple[str, int], ...] = ()
    listen_tls: tuple[tuple[str, int], ...] = ()
    certificate: str = ""
    key: str = ""
    ca: str = ""
    zones: tuple[ZoneRequest, ...] = ()
    tables: tuple[TableRequest, ...] = ()
