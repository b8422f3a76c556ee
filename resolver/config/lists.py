"""One `[[list]]` of the configuration: an authority's list, where it comes from and what guards it.

Rules:
- No source can be set up without the pinned key that its lists have to verify against.
- A list has a hard limit: its source carries one (tuf, file, image), or `hard_limit` must say it.
- What belongs to one kind of source is refused with any other, so that nothing is set in vain.
"""

from collections.abc import Iterator
from typing import Annotated, Final, Literal
from urllib.parse import SplitResult, urlsplit

from msgspec import Meta, Struct

from resolver.config.values import Address, Prefix, Seconds

# Bounds that no key changes.
MAX_TARGET_BYTES: Final = 64 * 2**20
MAX_ENTRIES: Final = 4_000_000
MIN_POLL_S: Final = 60
MIN_IMAGE_POLL_S: Final = 10
HARD_LIMIT_S: Final = 14 * 86400

Kind = Literal["tuf", "openpgp", "file", "zone", "image"]


class _Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One table of the file."""


class Source(_Section, frozen=True):
    """Where a list comes from, and whose signature counts.

    root: the pinned key: a TUF root, OpenPGP public keys, a minisign public key, a TSIG key, a compile host's key.
    identity: what decrypts: an age identity (tuf), a GnuPG home (openpgp). dated_within: how old a list of openpgp
    may say it is. ca, certificate, key: for `url` and for `receipt`, where they go over TLS. incremental: whether a
    sealed copy of the zone is kept, and differences (IXFR) are applied to it.
    """

    kind: Kind
    url: str
    root: Annotated[str, Meta(min_length=1)]
    target: Annotated[str, Meta(pattern=r"^([a-z0-9-]{1,64})?\Z")] = ""
    format: Literal["plain", "csv"] = "plain"
    identity: str = ""
    poll: Seconds = Seconds(15 * 60)
    minimum_serial: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    dated_within: Seconds = Seconds(48 * 3600)
    incremental: bool = False
    ca: str = ""
    certificate: str = ""
    key: str = ""
    seed: str = ""
    receipt: str = ""


Share = Annotated[float, Meta(ge=0, le=1)]
EntryCount = Annotated[int, Meta(ge=1, le=MAX_ENTRIES)]


class Guard(_Section, frozen=True):
    """What sets a line aside, what holds a list back, and what the breaker does after a swap."""

    growth: Annotated[float, Meta(ge=0, le=100)] = 0.2
    shrink: Share = 0.2
    expect_entries: tuple[EntryCount, EntryCount] = (1, 100_000)
    refused: Share = 0.05
    protected: Annotated[tuple[str, ...], Meta(max_length=10_000)] = ()
    popular: str = ""
    on_entry: Literal["set-aside", "hold"] = "set-aside"
    breaker: Literal["suspend-new", "alarm"] = "suspend-new"
    soak: Seconds = Seconds(24 * 3600)


class List(_Section, frozen=True):
    """One authority's list and what it means here.

    hard_limit: None while the file is read, where it says nothing. alarm_age: for how long the feed may bring nothing
    good before that is an alarm.
    """

    id: Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,32}\Z")]
    source: Source
    basis: Literal["statute", "contract"] = "statute"
    answer: Literal["page", "nodata", "nxdomain"] = "page"
    demonstration: bool = False
    addresses: tuple[Address, ...] = ()
    clients: tuple[Prefix, ...] = ()
    exempt: tuple[Prefix, ...] = ()
    hard_limit: Seconds | None = None
    expire: Literal["keep", "lift"] | None = None
    deadline: Seconds = Seconds(24 * 3600)
    alarm_age: Seconds = Seconds(24 * 3600)
    legal_reference: Annotated[str, Meta(max_length=200)] = ""
    guard: Guard = Guard()

    @property
    def limit(self) -> float:
        """Seconds from its issue for which a list may be in force, whatever it says itself."""
        return HARD_LIMIT_S if self.hard_limit is None else float(self.hard_limit)


# Bounds of durations in seconds: the least and the greatest value accepted, and how they are written.
LIST_BOUNDS: Final[dict[str, tuple[int, int, str]]] = {
    "source.poll": (1, 7 * 86400, "1s to 7d"),
    "source.dated_within": (3600, 366 * 86400, "1h to 366d"),
    "deadline": (60, 366 * 86400, "1m to 366d"),
    "alarm_age": (60, 366 * 86400, "1m to 366d"),
    "guard.soak": (0, 366 * 86400, "0 to 366d"),
}

# Keys that some kinds of source have, with their defaults.
_OF_KINDS: Final = {
    "target": (("tuf", "image"), ""),
    "identity": (("tuf", "openpgp"), ""),
    "format": (("openpgp", "file"), "plain"),
    "dated_within": (("openpgp",), 48 * 3600),
    "incremental": (("zone",), False),
}
_WITH_TLS: Final = ("https", "tls")

Fault = tuple[str, str]
"""A key's path and the reason why its value is refused."""


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        return parts if parts.port != 0 else urlsplit("")
    except ValueError:
        return urlsplit("")


def _is_local(url: SplitResult) -> bool:
    plain = not url.query and not url.fragment
    return url.scheme == "file" and not url.netloc and url.path.startswith("/") and plain


def _is_remote(url: SplitResult, *schemes: str) -> bool:
    plain = "@" not in url.netloc and not url.query and not url.fragment
    return url.scheme in schemes and bool(url.hostname) and plain


def faults_of_source(source: Source, at: str) -> Iterator[Fault]:
    """What is wrong with a source at the key `at`."""
    url = _split(source.url)
    if source.kind == "zone":
        if not _is_remote(url, "dns", "tls") or not url.path.strip("/"):
            yield f"{at}.url", "expected dns://ADDRESS:PORT/ZONE or tls://HOST:PORT/ZONE"
    elif not _is_local(url) and not _is_remote(url, "https"):
        yield f"{at}.url", "expected file:///FOLDER or https://HOST/FOLDER"
    with_tls = url.scheme in _WITH_TLS or source.receipt.startswith("https:")
    for name in ("ca", "certificate", "key"):
        if getattr(source, name) and not with_tls:
            yield f"{at}.{name}", "belongs to an https:// or tls:// url or receipt only"
    if bool(source.certificate) != bool(source.key):
        yield f"{at}.key", "certificate and key are given together or not at all"
    if source.receipt and not source.receipt.startswith("/") and not _is_remote(_split(source.receipt), "https"):
        yield f"{at}.receipt", "expected the absolute path of a folder, or https://HOST/PATH"
    if source.kind == "openpgp" and not source.identity:
        yield f"{at}.identity", "the GnuPG home that holds the key this list is encrypted to"
    for name, (kinds, default) in _OF_KINDS.items():
        if source.kind not in kinds and getattr(source, name) != default:
            yield f"{at}.{name}", f"belongs to a source of kind {' or '.join(kinds)}"


def faults_of_list(one: List, at: str, *, has_address: bool) -> Iterator[Fault]:
    """What is wrong with a list at the key `at`; has_address: `[page]` names one to answer with."""
    yield from faults_of_source(one.source, f"{at}.source")
    if one.hard_limit is not None and not 1 <= one.hard_limit <= 366 * 86400:
        yield f"{at}.hard_limit", "out of bounds: 1s to 366d"
    if not one.demonstration:
        if one.expire is None:
            yield f"{at}.expire", 'say what happens after the hard limit: "keep" or "lift"'
        if one.hard_limit is None and one.source.kind in ("openpgp", "zone"):
            yield f"{at}.hard_limit", f"a list of kind {one.source.kind} carries none: say how long it may be in force"
    if one.answer == "page" and not (one.addresses or has_address):
        yield f"{at}.addresses", "no address to answer with: set it here or in page.addresses"
    if one.guard.expect_entries[0] > one.guard.expect_entries[1]:
        yield f"{at}.guard.expect_entries", "expected [LEAST, MOST]"


def least_poll(one: List) -> int:
    """Seconds between two looks at the source, at the least, while a list of production is configured."""
    return MIN_IMAGE_POLL_S if one.source.kind == "image" else MIN_POLL_S
