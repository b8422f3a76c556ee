"""What the service, the fetch and the compile process say to each other: numbers and paths, never a name."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from resolver.signed.metadata import Custom


class _Message(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of JSON."""


class FetchRequest(_Message, frozen=True):
    """What to fetch, and within which bounds; `output` is the inherited memfd.

    What is named as in the configuration's source is taken from there. resolvers: the upstreams
    (ADDRESS:PORT) that resolve the source's host. serial, issued, digest, targets_keys: of the newest list accepted or
    held, 0 and "" where there is none (issued also where none is said); stale: whether metadata that is no longer fresh
    will do, for a host without any list. copy, copy_key, copy_output: inherited descriptors of an incremental zone's
    sealed copy, of its key and of a file for the next one; -1 stands for none.
    """

    parent: int
    output: int
    list_id: str
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
    format: Literal["plain", "csv"] = "plain"
    identity: str = ""
    dated_within: float = 0
    resolvers: tuple[str, ...] = ()
    serial: int = 0
    issued: int = 0
    digest: str = ""
    targets_keys: str = ""
    stale: bool = False
    copy: int = -1
    copy_key: int = -1
    copy_output: int = -1

    @property
    def handles(self) -> tuple[int, ...]:
        """Every descriptor that is inherited."""
        return tuple(one for one in (self.output, self.copy, self.copy_key, self.copy_output) if one >= 0)


class Made(Struct, frozen=True, kw_only=True):
    """What a compile host says of an image that it has made: counts, what of it counts, and by which key.

    complaint: what was wrong besides, a reason; the list itself verified.
    """

    entries: int
    refused: dict[str, int]
    refused_lines: dict[str, tuple[int, ...]]
    set_aside: dict[str, int]
    set_aside_lines: dict[str, tuple[int, ...]]
    approved: bool
    suspended: bool
    generation: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    digest_key: str
    demonstration: bool
    confirmed: int = 0
    complaint: str = ""


class Facts(_Message, frozen=True):
    """What verified: digest of the list in clear (SHA-256, hex), length, signed facts, who signs, from which pinned
    root (SHA-256, hex) on and by which version of it; `fresh_until` unix seconds, 0 where a source does not say.

    format: what `read` takes the bytes for. made: where the bytes are an image, made elsewhere. difference: whether
    only what has changed came, and was applied to the list that is known.
    """

    digest: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    length: Annotated[int, Meta(ge=0)]
    custom: Custom
    targets_keys: str
    root_version: int
    fresh_until: int
    pinned: str = ""
    format: Literal["plain", "csv", "rpz"] = "plain"
    made: Made | None = None
    difference: bool = False


class CompileRequest(_Message, frozen=True):
    """What to compile and from which descriptors; -1 stands for none.

    previous: the image in force. lines: takes the line of each entry (core.image). protected: names that a line may not
    block; popular: a file of names that nobody should block. keep_new: entries that are new in the previous image stay
    new. approved: what the previous image has set aside is enforced.
    """

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
    format: Literal["plain", "csv", "rpz"] = "plain"
    lines: int = -1
    protected: tuple[str, ...] = ()
    popular: str = ""
    keep_new: bool = False
    approved: bool = False

    @property
    def handles(self) -> tuple[int, ...]:
        """Every descriptor that is inherited."""
        return tuple(
            one for one in (self.list_fd, self.output, self.keys, self.previous, self.lines) if one >= 0
        )


class Compiled(_Message, frozen=True):
    """Counts of an image; lines refused and set aside by reason, and the numbers of the first ones. exceptions: of the
    entries."""

    entries: int
    refused: dict[str, int]
    refused_lines: dict[str, tuple[int, ...]]
    set_aside: dict[str, int] = {}
    set_aside_lines: dict[str, tuple[int, ...]] = {}
    exceptions: int = 0
