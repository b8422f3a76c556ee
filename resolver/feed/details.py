"""Defines what a fetch or compile process may add to a reason or report as a step: codes and numbers, never text.

Rules:
- These processes see names, and read what strangers send. So a detail is a code of a closed set, a place of the
  configuration, a word of a closed set and a few numbers, each within the bounds of its kind. The service makes the
  text (`detail_text`); nothing that a process writes is ever copied into it.
- A detail with anything else is dropped whole; its reason stays.
- No text holds a name of a list, an octet of one, or a client.
- A place is the name of something in the list's `source`. Which host and which path that is, only the service says.
"""

from enum import Enum, StrEnum, auto
from typing import Annotated, Final, Literal, Self

from msgspec import Meta, Struct

from resolver.feed.reasons import Refusal, Shape

MAX_NUMBERS: Final = 4


class Kind(Enum):
    """What a number means, and so its bounds and how it is written (`detail_text`)."""

    COUNT = auto()
    STATUS = auto()
    ERRNO = auto()
    SECONDS = auto()
    DATE = auto()
    ROW = auto()
    CELL = auto()
    SERIAL = auto()
    RCODE = auto()
    TLS_VERSION = auto()
    TLS_VERDICT = auto()
    MILLISECONDS = auto()


class Place(StrEnum):
    """What of a source a detail is about."""

    NOWHERE = ""
    HOST = "host"
    LIST = "list"
    SIGNATURE = "signature"
    FOLDER = "folder"
    ROOT_FILE = "root_file"
    CA = "ca"
    CERTIFICATE = "certificate"
    KEY = "key"
    IDENTITY = "identity"
    STATE = "state"
    SEED = "seed"
    POPULAR = "popular"
    ROOT = "root"
    TIMESTAMP = "timestamp"
    SNAPSHOT = "snapshot"
    TARGETS = "targets"
    MANIFEST = "manifest"
    RELEASES = "releases"
    IMAGE = "image"


class Word(StrEnum):
    """A word in a text: a field, an algorithm, a kind of file."""

    NONE = ""
    LIST = "list"
    SERIAL = "serial"
    ISSUED = "issued"
    EXPIRES = "expires"
    WITHDRAWN = "withdrawn"
    ENTRIES = "entries"
    ENCRYPTION = "encryption"
    PLAIN = "plain"
    CUSTOM = "custom"
    SHA256 = "sha256"
    LENGTH = "length"
    NOT_AFTER = "not-after"
    TIMESTAMP = "TIMESTAMP"
    AXFR = "AXFR"
    IXFR = "IXFR"
    SOA = "SOA"
    HMAC_MD5 = "hmac-md5"
    HMAC_SHA1 = "hmac-sha1"
    TRUNCATED = "a truncated one"
    OTHER = "another one"


_COUNT, _STATUS, _ERRNO, _SECONDS = Kind.COUNT, Kind.STATUS, Kind.ERRNO, Kind.SECONDS
_RCODE = Kind.RCODE


class Code(StrEnum):
    """What happened. said: the text, with `{at}` for the place, `{word}`, and `{0}` and so on for the numbers, whose
    kinds follow. A code that begins with `step_` is a step that begins; with `found_`, what a step has found."""

    said: str
    kinds: tuple[Kind, ...]

    def __new__(cls, value: str, said: str, *kinds: Kind) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.said = said
        member.kinds = kinds
        return member

    @property
    def is_step(self) -> bool:
        """Return whether a step begins with this code."""
        return self.value.startswith("step_")

    # Steps that begin, and what they find.
    STEP_LOOK_UP = "step_look_up", "looking up {at}"
    FOUND_ADDRESSES = "found_addresses", "{0} addresses, {1} of them IPv6", _COUNT, _COUNT
    STEP_CONNECT = "step_connect", "connecting to {at}, address {0} of {1}", _COUNT, _COUNT
    STEP_TLS = "step_tls", "TLS handshake with {at}"
    FOUND_TLS = "found_tls", "{0}, certificate verified, it ends on {1}", Kind.TLS_VERSION, Kind.DATE
    STEP_READ = "step_read", "reading {at}"
    FOUND_OCTETS = "found_octets", "{0} octets", _COUNT
    # The list itself.
    UNUSABLE = "unusable", ""
    SOA_SERIAL = "soa_serial", "the SOA in {at} has serial {0}, its signature {1}", Kind.SERIAL, Kind.SERIAL
    # Files of this host.
    FILE = "file", "{at}: {0}", _ERRNO
    NOT_THERE = "not_there", "{at} does not exist"
    NOT_A_FILE = "not_a_file", "{at} is not a regular file"
    FOLDER_EMPTY = "folder_empty", "{at} holds no finished file"
    DATED_AHEAD = "dated_ahead", "its date is {0} ahead of this host's clock", _SECONDS
    PASSED_OVER = (
        "passed_over",
        "files passed over in {at}: {0} ({1} no OpenPGP message, {2} not verified, {3} too many or too large)",
        *(_COUNT,) * 4,
    )
    # The way to a server.
    NO_SUCH_HOST = "no_such_host", "the upstreams say that {at} does not exist (NXDOMAIN)"
    NO_ADDRESS = "no_address", "the upstreams know no address of {at}"
    LOOK_UP_FAILED = "look_up_failed", "the look-up of {at} failed: an upstream answered {0}", _RCODE
    LOOK_UP_SILENT = "look_up_silent", "the look-up of {at} failed: no upstream answered"
    NOT_CONNECTED = "not_connected", "{at}: {0} ({1} of {2} addresses tried)", _ERRNO, _COUNT, _COUNT
    TOO_SLOW = "too_slow", "{at} did not answer in time"
    TOO_SLOW_WHOLE = "too_slow_whole", "{at} took more than the {0} that a whole fetch may take", _SECONDS
    CLOSED = "closed", "{at} closed the connection before the end of its answer"
    # TLS.
    TLS_VERDICT = "tls_verdict", "TLS: the certificate of {at} {0}", Kind.TLS_VERDICT
    TLS_VERSION = "tls_version", "TLS: {at} has no version of TLS that is accepted here"
    TLS_NONE = "tls_none", "{at} does not talk TLS at this port"
    TLS_OURS_REFUSED = "tls_ours_refused", "TLS: {at} refused this host's certificate"
    TLS_OURS_WANTED = "tls_ours_wanted", "TLS: {at} wants a certificate of this host: set source.certificate and key"
    TLS_FAILED = "tls_failed", "TLS: the handshake with {at} failed"
    PEM = "pem", "{at} holds nothing that TLS can use"
    # HTTP.
    HTTP_STATUS = "http_status", "{at}: HTTP status {0}", _STATUS
    REDIRECT = "redirect", "{at}: HTTP status {0}: a redirect is not followed; set the final url", _STATUS
    HALF = "half", "{at}: the download ended {0} octets before its end", _COUNT
    NOT_HTTP = "not_http", "{at}: the answer is not HTTP"
    TOO_LONG = "too_long", "{at} is larger than the {0} octets allowed", _COUNT


    # A zone and its primary.
    STEP_SOA = "step_soa", "asking {at} for the zone's SOA, signed"
    FOUND_SERIAL = "found_serial", "serial {0}, signature verified", Kind.SERIAL
    STEP_TRANSFER = "step_transfer", "transferring the zone from {at} ({word})"
    FOUND_TRANSFER = "found_transfer", "{0} octets in {1} messages, signatures verified", _COUNT, _COUNT
    KEY_FORM = "key_form", "{at} is not one TSIG key as tsig-keygen or keymgr writes it"
    KEY_ALGORITHM = "key_algorithm", "{at}: the algorithm is {word}; hmac-sha256, -sha384 and -sha512 are accepted"
    KEY_SHORT = "key_short", "{at}: the secret has {0} octets, at least {1} are needed", _COUNT, _COUNT
    TSIG_BADSIG = "tsig_badsig", "{at} says BADSIG: it has another secret for this key"
    TSIG_BADKEY = "tsig_badkey", "{at} says BADKEY: it knows no key of this name and algorithm"
    TSIG_BADTRUNC = "tsig_badtrunc", "{at} says BADTRUNC: it accepts no signature of this length"
    CLOCK_AHEAD = "clock_ahead", "the clock of {at} is {0} ahead of this host's (BADTIME)", _SECONDS
    CLOCK_BEHIND = "clock_behind", "the clock of {at} is {0} behind this host's (BADTIME)", _SECONDS
    TSIG_NONE = "tsig_none", "the answer of {at} is not signed: it does not know this key, or no TSIG"
    TSIG_ALGORITHM = "tsig_algorithm", "{at} signs with another algorithm than that of the key"
    TSIG_WRONG = "tsig_wrong", "the signature of {at} does not verify with the key: another secret, or a changed answer"
    TSIG_MISSING = "tsig_missing", "the transfer from {at} lacks a signature that it must have"
    ZONE_REFUSED = "zone_refused", "{at} says REFUSED: it does not serve this zone, or not to this address or key"
    ZONE_NOTAUTH = "zone_notauth", "{at} says NOTAUTH: it does not serve this zone, or not to this key"
    ZONE_RCODE = "zone_rcode", "{at} says {0} for the zone", _RCODE
    ZONE_NO_SOA = "zone_no_soa", "the answer of {at} holds no SOA of the zone"
    ZONE_MESSAGE = "zone_message", "message {0} of the transfer from {at} is malformed", _COUNT
    ZONE_ORDER = "zone_order", "the records from {at} are not a valid answer to {word}"
    ZONE_MOVED = "zone_moved", "{at} transferred serial {0} although its SOA said {1}", Kind.SERIAL, Kind.SERIAL
    ZONE_BACK = "zone_back", "{at} has serial {0}, behind {1}, the last one (RFC 1982)", Kind.SERIAL, Kind.SERIAL
    ZONE_REUSED = "zone_reused", "{at} serves other records than before under serial {0}", Kind.SERIAL
    ZONE_NAME = "zone_name", "the path of source.url is no name of a zone"


_Count = Annotated[int, Meta(ge=0, le=2**32)]


class Unusable(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Why a whole list cannot be used, by counts, line numbers and words of closed sets (`refusals`).

    refused, refused_lines: its lines by reason, and the numbers of the first ones. shape: what it looks like. line: of
    what is not UTF-8, or no SOA; 0 if unknown. read_as: its format. exceptions: it holds only exceptions.
    """

    reason: Literal["not_utf8", "empty", "too_many_entries", "malformed"]
    refused: dict[Refusal, _Count] = {}
    refused_lines: dict[Refusal, Annotated[tuple[_Count, ...], Meta(max_length=100)]] = {}
    shape: Shape | None = None
    line: _Count = 0
    read_as: Literal["plain", "csv", "rpz"] = "plain"
    exceptions: bool = False


class Detail(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A detail of a failure, or a step. version: of a metadata file, 0 if its name has none. unusable: of a list that
    cannot be used, and then all of the text."""

    code: Code
    at: Place = Place.NOWHERE
    numbers: Annotated[tuple[Annotated[int, Meta(ge=0, le=2**63 - 1)], ...], Meta(max_length=MAX_NUMBERS)] = ()
    word: Word = Word.NONE
    version: Annotated[int, Meta(ge=0, le=2**31)] = 0
    unusable: Unusable | None = None


def no_step(_: Detail) -> None:
    """Do nothing with a step."""


def of_errno(error: OSError, at: Place) -> Detail:
    """Return the detail of an error of the operating system."""
    return Detail(code=Code.FILE, at=at, numbers=(error.errno or 0,))
