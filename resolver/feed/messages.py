"""The messages between the service, the fetch process and the compile process: numbers and paths, never a name."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from resolver.feed.details import Detail
from resolver.signed.metadata import Custom


class _Message(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A message, one line of JSON."""


class FetchRequest(_Message, frozen=True):
    """What to fetch, and within which limits; `output` is the inherited memfd.

    Fields with names of the source's configuration are taken from there. resolvers: the upstreams (ADDRESS:PORT) that
    resolve the source's host. serial, issued, digest, targets_keys: of the newest list accepted or held, 0 and "" if
    there is none (issued is 0 also if unknown). withdrawn: that list is a withdrawal. stale: whether stale metadata is
    accepted, for a host without any list.
    copy, copy_key, copy_output: inherited descriptors of an incremental zone's sealed copy, of its key, and of a file
    for the next copy; -1 if there is none.
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
    format: Literal["plain", "csv", "rpz"] = "plain"
    identity: str = ""
    dated_within: float = 0
    resolvers: tuple[str, ...] = ()
    serial: int = 0
    issued: int = 0
    digest: str = ""
    targets_keys: str = ""
    withdrawn: bool = False
    stale: bool = False
    copy: int = -1
    copy_key: int = -1
    copy_output: int = -1

    @property
    def handles(self) -> tuple[int, ...]:
        """Return all inherited descriptors."""
        return tuple(one for one in (self.output, self.copy, self.copy_key, self.copy_output) if one >= 0)


class Made(Struct, frozen=True, kw_only=True):
    """A compile host's description of an image that it made.

    approved: lines set aside are enforced. suspended: always False; nodes of earlier versions ask for it. digest_key:
    identifies the digest key. complaint: another fault found at the fetch, a reason; the list itself verified.
    """

    entries: int
    refused: dict[str, int]
    refused_lines: dict[str, tuple[int, ...]]
    set_aside: dict[str, int]
    set_aside_lines: dict[str, tuple[int, ...]]
    approved: bool
    suspended: bool = False
    generation: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    digest_key: str
    demonstration: bool
    confirmed: int = 0
    complaint: str = ""
    exceptions: int = 0


class Facts(_Message, frozen=True):
    """The verified facts of a fetched list.

    digest: SHA-256 of the list in clear, hex. custom: the signed facts. targets_keys: who signs. pinned: SHA-256 of the
    pinned root, hex. root_version: the version of the root that was reached from it. fresh_until: unix seconds, 0 if
    the source does not say. format: how `read` parses the bytes. made: set if the bytes are an image that another host
    made. difference: whether only a difference was received, and applied to the known list. passed_over: how many other
    files of a drop folder do not count. complaint: the detail of `made.complaint`.
    """

    digest: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    length: Annotated[int, Meta(ge=0)]
    custom: Custom
    targets_keys: str
    root_version: int
    fresh_until: int
    pinned: str = ""
    format: Literal["plain", "csv", "rpz", "master"] = "plain"
    made: Made | None = None
    difference: bool = False
    passed_over: Detail | None = None
    complaint: Detail | None = None


class CompileRequest(_Message, frozen=True):
    """What to compile, and from which descriptors; -1 if there is none.

    previous: the image in force. lines: receives the line number of each entry (core.image). protected: names that no
    line may block. popular: a file of names that nobody should block. keep_new: entries that are new in the previous
    image stay new. approved: lines that the previous image set aside are enforced. export: a connection to
    the export process, which gets the names (names.export). digest: of the list, for that alone.
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
    format: Literal["plain", "csv", "rpz", "master"] = "plain"
    lines: int = -1
    protected: tuple[str, ...] = ()
    popular: str = ""
    keep_new: bool = False
    approved: bool = False
    export: int = -1
    digest: str = ""

    @property
    def handles(self) -> tuple[int, ...]:
        """Return all inherited descriptors."""
        every = (self.list_fd, self.output, self.keys, self.previous, self.lines, self.export)
        return tuple(one for one in every if one >= 0)


class Compiled(_Message, frozen=True):
    """Counts of an image: entries (of them exceptions), and lines refused and set aside by reason, with the numbers of
    the first ones. rare_depths: numbers of labels that few names have. exported: whether the export process has taken
    the names; None if it was not to get them."""

    entries: int
    refused: dict[str, int]
    refused_lines: dict[str, tuple[int, ...]]
    set_aside: dict[str, int] = {}
    set_aside_lines: dict[str, tuple[int, ...]] = {}
    exceptions: int = 0
    rare_depths: tuple[int, ...] = ()
    exported: bool | None = None
