"""Defines one `[[list]]` of the configuration: an authority's list, its source and its guard.

Rules:
- Every source needs the pinned key that its lists must verify against.
- Every list has a hard limit: from its source (tuf, file, image), or from the key `hard_limit`.
- A key of one kind of source is refused with any other kind, so that no setting is silently without effect.
"""

from collections.abc import Iterator
from typing import Annotated, Final, Literal, get_args
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
Purpose = Literal["child-abuse", "court-order", "malware", "sanctions", "other"]
PURPOSES: Final[tuple[str, ...]] = get_args(Purpose)
Said = Annotated[str, Meta(max_length=500)]


class _Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One table of the file."""


class Source(_Section, frozen=True):
    """The source of a list, and the key that its signature must verify against.

    root: the pinned key: a TUF root, OpenPGP public keys, a minisign public key, a TSIG key, or a compile host's key.
    identity: the key for decryption: an age identity (tuf) or a GnuPG home (openpgp). dated_within: the greatest age
    that an openpgp list may state. ca, certificate, key: for `url` and `receipt`, if they use TLS. incremental: keep a
    sealed copy of the zone and apply differences (IXFR) to it.
    """

    kind: Kind
    url: str
    root: Annotated[str, Meta(min_length=1)]
    target: Annotated[str, Meta(pattern=r"^([a-z0-9-]{1,64})?\Z")] = ""
    format: Literal["plain", "csv", "rpz"] = "plain"
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
    """The rules that set a line aside or hold a list before it comes in force, and the time in which the breaker says
    that new entries block unusually much.

    popular_share: of the client prefixes seen before a list came; 0 sets no entry aside.
    """

    growth: Annotated[float, Meta(ge=0, le=100)] = 0.2
    shrink: Share = 0.2
    expect_entries: tuple[EntryCount, EntryCount] = (1, 100_000)
    refused: Share = 0.05
    protected: Annotated[tuple[str, ...], Meta(max_length=10_000)] = ()
    popular: str = ""
    on_entry: Literal["set-aside", "hold"] = "set-aside"
    popular_share: Share = 0.01
    breaker: Literal["suspend-new", "alarm"] = "alarm"
    soak: Seconds = Seconds(24 * 3600)


class List(_Section, frozen=True):
    """One authority's list and how it is enforced here.

    hard_limit: None only while the file is parsed. alarm_age: the time without a good update after which an alarm is
    raised. without_list: what names that no list blocks get while this list is not in force; "" is "refuse" (SERVFAIL),
    or "forward" for a list that was added to a host which had enforced another (feed/state.py says which). purpose: the
    text of the page; "" is not stated. authority, legal_reference, complaint, appeal: what the page says of this list;
    "" takes authority, law, contact and appeal of `[page]`.
    """

    id: Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,32}\Z")]
    source: Source
    purpose: Literal["", Purpose] = ""
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
    authority: Said = ""
    legal_reference: Annotated[str, Meta(max_length=200)] = ""
    complaint: Said = ""
    appeal: Said = ""
    without_list: Literal["", "refuse", "forward"] = ""
    guard: Guard = Guard()

    @property
    def limit(self) -> float:
        """The seconds from its issue for which a list may be in force, also if the list itself states more."""
        return HARD_LIMIT_S if self.hard_limit is None else float(self.hard_limit)


# Bounds of durations in seconds: the least and the greatest value accepted, and both in words.
LIST_BOUNDS: Final[dict[str, tuple[int, int, str]]] = {
    "source.poll": (1, 7 * 86400, "1s to 7d"),
    "source.dated_within": (3600, 366 * 86400, "1h to 366d"),
    "deadline": (60, 366 * 86400, "1m to 366d"),
    "alarm_age": (60, 366 * 86400, "1m to 366d"),
    "guard.soak": (0, 366 * 86400, "0 to 366d"),
}

# Keys that only some kinds of source have: these kinds, and the default.
_OF_KINDS: Final = {
    "target": (("tuf", "image"), ""),
    "identity": (("tuf", "openpgp"), ""),
    "format": (("openpgp", "file"), "plain"),
    "dated_within": (("openpgp",), 48 * 3600),
    "incremental": (("zone",), False),
}
_URLS: Final = {
    "file": "file:///FILE or https://HOST/FILE: the list itself, its signature is FILE.minisig",
    "openpgp": "file:///FOLDER (a drop folder) or https://HOST/FILE",
    "tuf": "file:///FOLDER or https://HOST/FOLDER, which holds metadata/ and targets/",
    "image": "file:///FOLDER or https://HOST/FOLDER",
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
    """Yield the faults of a source at the key `at`."""
    url = _split(source.url)
    if source.kind == "zone":
        if not _is_remote(url, "dns", "tls") or not url.path.strip("/"):
            yield f"{at}.url", "expected dns://ADDRESS:PORT/ZONE or tls://HOST:PORT/ZONE"
    elif not _is_local(url) and not _is_remote(url, "https"):
        yield f"{at}.url", f"expected {_URLS[source.kind]}"
    with_tls = url.scheme in _WITH_TLS or source.receipt.startswith("https:")
    for name in ("ca", "certificate", "key"):
        if getattr(source, name) and not with_tls:
            yield f"{at}.{name}", "belongs to an https:// or tls:// url or receipt only"
    if bool(source.certificate) != bool(source.key):
        yield f"{at}.key", "set both certificate and key, or neither"
    if source.receipt and not source.receipt.startswith("/") and not _is_remote(_split(source.receipt), "https"):
        yield f"{at}.receipt", "expected the absolute path of a folder, or https://HOST/PATH"
    if source.kind == "openpgp" and not source.identity:
        yield f"{at}.identity", "required: the GnuPG home that holds the key this list is encrypted to"
    for name, (kinds, default) in _OF_KINDS.items():
        if source.kind not in kinds and getattr(source, name) != default:
            yield f"{at}.{name}", f"belongs to a source of kind {' or '.join(kinds)}"


def faults_of_list(one: List, at: str, *, has_address: bool) -> Iterator[Fault]:
    """Yield the faults of a list at the key `at`; has_address: page.addresses names an address to answer with."""
    yield from faults_of_source(one.source, f"{at}.source")
    if one.hard_limit is not None and not 1 <= one.hard_limit <= 366 * 86400:
        yield f"{at}.hard_limit", "out of bounds: 1s to 366d"
    if not one.demonstration:
        if one.expire is None:
            yield f"{at}.expire", 'required: what happens after the hard limit, "keep" or "lift"'
        if one.hard_limit is None and one.source.kind in ("openpgp", "zone"):
            yield f"{at}.hard_limit", f"required: a list of kind {one.source.kind} states no hard limit itself"
    if one.answer == "page" and not (one.addresses or has_address):
        yield f"{at}.addresses", "no address to answer with: set it here or in page.addresses"
    if one.guard.breaker == "suspend-new":
        yield (
            f"{at}.guard.breaker",
            'only "alarm": nothing that clients ask takes entries out of force; `popular_share` sets aside what was in '
            "wide use before a list came",
        )
    if one.guard.expect_entries[0] > one.guard.expect_entries[1]:
        yield f"{at}.guard.expect_entries", "expected [LEAST, MOST]"


def least_poll(one: List) -> int:
    """Return the least `poll` of a list, in seconds, unless every list is a demonstration list."""
    return MIN_IMAGE_POLL_S if one.source.kind == "image" else MIN_POLL_S
