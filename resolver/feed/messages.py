"""What the service, the fetch and the compile process say to each other: numbers and paths, never a name."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from resolver.authority.shapes import Custom


class _Message(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of JSON."""


class FetchRequest(_Message, frozen=True):
    """What to fetch, and within which bounds; `output` is the inherited memfd."""

    parent: int
    output: int
    url: str
    root: str
    target: str
    metadata: str
    ca: str
    certificate: str
    key: str
    max_bytes: int
    memory_bytes: int
    seconds: float


class Facts(_Message, frozen=True):
    """What verified: digest (SHA-256, hex), length, signed facts, who signs, from which pinned root (SHA-256,
    hex) on and by which version of it; `fresh_until` unix seconds."""

    digest: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    length: Annotated[int, Meta(ge=0)]
    custom: Custom
    targets_keys: str
    root_version: int
    fresh_until: int
    pinned: str = ""


class CompileRequest(_Message, frozen=True):
    """What to compile and from which descriptors; `previous` is -1 where there is no image in force."""

    parent: int
    list_fd: int
    output: int
    keys: int
    previous: int
    list_id: str
    serial: int
    issued: int
    expires: int
    generation: int
    demonstration: bool
    max_entries: int
    memory_bytes: int


class Compiled(_Message, frozen=True):
    """Counts of an image; refused lines by reason, and the numbers of the first ones."""

    entries: int
    refused: dict[str, int]
    refused_lines: dict[str, tuple[int, ...]]


class Reason(StrEnum):
    """One reason; its value is a metric's label, so add and never rename."""

    # The source.
    UNREACHABLE = "unreachable"
    TAMPERED = "tampered"
    MALFORMED = "malformed"
    EXPIRED = "expired"
    FROZEN = "frozen"
    ROLLED_BACK = "rolled_back"
    MIXED = "mixed"
    TOO_FEW_SIGNATURES = "too_few_signatures"
    OVERSIZED = "oversized"
    UNKNOWN_TARGET = "unknown_target"
    WRONG_LIST = "wrong_list"
    ROOT_UNUSABLE = "root_unusable"
    # The list.
    NOT_UTF8 = "not_utf8"
    EMPTY = "empty"
    TOO_MANY_ENTRIES = "too_many_entries"
    SERIAL_REUSED = "serial_reused"
    QUARANTINED = "quarantined"
    CLOCK_BEHIND = "clock_behind"
    SELFTEST = "selftest"
    SWAP = "swap"
    # This host.
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    STATE_NOT_WRITTEN = "state_not_written"
    STATE_UNREADABLE = "state_unreadable"
    IMAGE_UNUSABLE = "image_unusable"
    PROCESS = "process"
    INTERNAL = "internal"
