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
    SIGNED = "signed"
    SIGNATURES = "signatures"
    TYPE = "_type"
    VERSION = "version"
    META = "meta"
    KEYS = "keys"
    ROLES = "roles"
    TARGETS = "targets"
    HASHES = "hashes"
    SPEC_VERSION = "spec_version"
    KEYID = "keyid"
    KEYIDS = "keyids"
    KEYTYPE = "keytype"
    SCHEME = "scheme"
    KEYVAL = "keyval"
    THRESHOLD = "threshold"
    SIG = "sig"
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
    FOUND_ADDRESSES = "found_addresses", "{0:address/addresses}, {1} of them IPv6", _COUNT, _COUNT
    STEP_CONNECT = "step_connect", "connecting to {at}, address {0} of {1}", _COUNT, _COUNT
    STEP_TLS = "step_tls", "TLS handshake with {at}"
    FOUND_TLS = "found_tls", "{0}, certificate verified, it ends on {1}", Kind.TLS_VERSION, Kind.DATE
    STEP_READ = "step_read", "reading {at}"
    FOUND_OCTETS = "found_octets", "{0:octet}", _COUNT
    # The list itself.
    UNUSABLE = "unusable", ""
    SOA_SERIAL = "soa_serial", "the SOA in {at} has serial {0}, its signature {1}", Kind.SERIAL, Kind.SERIAL
    STEP_COMPILE = "step_compile", "compiling the list"
    FOUND_ENTRIES = "found_entries", "{0:entry/entries}, {1:line} refused, {2} set aside", _COUNT, _COUNT, _COUNT
    STEP_TAKE = "step_take", "guard, self-test, putting it in force"
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
    HALF = "half", "{at}: the download ended {0:octet} before its end", _COUNT
    NOT_HTTP = "not_http", "{at}: the answer is not HTTP"
    TOO_LONG = "too_long", "{at} is larger than the {0} octets allowed", _COUNT


    # Metadata and signatures.
    STEP_VERIFY = "step_verify", "verifying {at}"
    STEP_KEPT = "step_kept", "using the kept copy of {at}: version {0}, ends on {1}", Kind.SERIAL, Kind.DATE
    FOUND_VERIFIED = "found_verified", "version {0}, signatures good, ends on {1}", Kind.SERIAL, Kind.DATE
    STEP_DECRYPT = "step_decrypt", "decrypting the list"
    FOUND_SIGNED = "found_signed", "serial {0}, signature good", Kind.SERIAL
    ENDED = "ended", "{at} ended on {0}", Kind.DATE
    SIGNATURES = "signatures", "{at}: {0} of {1} signatures that it needs are good", _COUNT, _COUNT
    VERSION_LOWER = "version_lower", "{at} has version {0}, lower than {1}, seen before", Kind.SERIAL, Kind.SERIAL
    VERSION_OTHER = "version_other", "{at}: version {0} is expected, {1} is served", Kind.SERIAL, Kind.SERIAL
    OTHER_OCTETS = "other_octets", "{at} has not the length and hash that are signed for it"
    OTHER_CONTENT = "other_content", "{at} has a version that is known, with other content: restored from a backup?"
    FORM = "form", "{at} does not have the form that it must have"
    FIELD_MISSING = "field_missing", "{at}: the field `{word}` is missing"
    FIELD = "field", "{at}: the field `{word}` does not have a value that it may have"
    CUSTOM_NONE = "custom_none", "{at}: the target has no usable `custom`"
    NO_TARGET = (
        "no_target",
        "{at} has no target of the configured name ({0:delegation is/delegations are} not followed)",
        _COUNT,
    )
    IN_CLEAR = "in_clear", "the list is not encrypted, though source.identity is set"
    NO_IDENTITY = "no_identity", "the list is encrypted, and source.identity is not set"
    OPEN_TO_OTHERS = "open_to_others", "{at}: others may read or change it; chmod o= it"
    IDENTITY_NONE = "identity_none", "{at} holds no key that can be used"
    NOT_DECRYPTED = "not_decrypted", "no key in {at} decrypts the list, or it was damaged"
    OTHER_PLAIN = "other_plain", "the decrypted list is not the one whose hash is signed"
    KEY_NONE = "key_none", "{at} holds no public key of the kind that this source needs"
    NOT_PREHASHED = "not_prehashed", "{at} is of minisign's old form: sign without -l"
    OTHER_KEY = "other_key", "{at} is by another key than the one in source.root"
    NOT_GOOD = "not_good", "{at} does not fit the file: one of them was changed, or is older than the other"
    NO_SIGNATURE = "no_signature", "{at} does not exist: the list is not signed"
    SERIALS_DIFFER = "serials_differ", "the signed serial and that in the list differ"
    # The first line or row of a list.
    HEADER_NO_COMMENT = "header_no_comment", "{at}: line 1 is not a comment with serial= and issued="
    HEADER_ROW = "header_row", "{at}: row 1 is not SERIAL;TIMESTAMP, with a semicolon between the cells"
    HEADER_SEP = "header_sep", "{at}: row 1 is a spreadsheet's `sep=`, SERIAL;TIMESTAMP must come first"
    HEADER_COMMAS = "header_commas", "{at}: the cells of row 1 are separated by commas, not by semicolons"
    HEADER_TABS = "header_tabs", "{at}: the cells of row 1 are separated by tabs, not by semicolons"
    HEADER_EMPTY = "header_empty", "{at}: row 1 is empty, SERIAL;TIMESTAMP must come first"
    HEADER_QUOTE = "header_quote", "{at}: row 1 has a quote that does not end, or stands within a cell"
    HEADER_LONG = "header_long", "{at}: line 1 is too long for a header"
    HEADER_ASCII = "header_ascii", "{at}: line 1 is not ASCII: is the file UTF-16, or packed?"
    HEADER_NUMBER = "header_number", "{at}: row {0}, cell {1} is not a serial", Kind.ROW, Kind.CELL
    HEADER_TIME = (
        "header_time",
        "{at}: row {0}, cell {1} is not a time: expected 2026-11-25T06:00:00Z or unix seconds",
        Kind.ROW,
        Kind.CELL,
    )
    # A list that verified, and is refused.
    OTHER_LIST = "other_list", "the signed facts name another list than the configuration"
    TAKEN_OUT = "taken_out", "serial {0} holds a list that was taken out here", Kind.SERIAL
    SERIAL_TWICE = "serial_twice", "serial {0} was accepted before, with another content", Kind.SERIAL
    SERIAL_MINIMUM = "serial_minimum", "serial {0} is below source.minimum_serial, {1}", Kind.SERIAL, Kind.SERIAL
    SERIAL_LOWER = "serial_lower", "serial {0} is lower than {1}, the highest accepted", Kind.SERIAL, Kind.SERIAL
    ISSUED_EARLIER = (
        "issued_earlier",
        "serial {0} was issued on {1}, before {2}, the date of the list that was accepted last",
        Kind.SERIAL,
        Kind.DATE,
        Kind.DATE,
    )
    AGE = "age", "the list was issued {0} ago; source.dated_within allows {1}", _SECONDS, _SECONDS
    # OpenPGP.
    GPG_NONE = "gpg_none", "GnuPG is not installed"
    GPG_HOME = "gpg_home", "GnuPG said nothing: is {at} its home, and may this account use it?"
    GPG_NO_KEY = "gpg_no_key", "{at} holds no secret key that decrypts the list"
    GPG_CLEAR = "gpg_clear", "the list is not encrypted"
    GPG_FORM = "gpg_form", "{at} is not one OpenPGP message"
    GPG_DAMAGED = "gpg_damaged", "the message does not decrypt to its end: it was changed or cut"
    GPG_UNSIGNED = "gpg_unsigned", "the list is encrypted, and not signed inside"
    GPG_UNKNOWN = "gpg_unknown", "the signature is by a key that is not in source.root"
    GPG_EXPIRED = "gpg_expired", "the signature, or the key that made it, has expired"
    GPG_REVOKED = "gpg_revoked", "the key that signed is revoked"
    GPG_WEAK = "gpg_weak", "the signature uses MD5, SHA-1 or RIPEMD-160"
    GPG_BAD = "gpg_bad", "the signature does not fit the list: it was changed"
    # Statements of a compile host.
    STATEMENT_KEY = "statement_key", "{at} is not signed by the key in source.root"
    STATEMENT_LOWER = "statement_lower", "{at} has number {0}, lower than {1}, seen before", Kind.SERIAL, Kind.SERIAL
    STATEMENT_TWICE = "statement_twice", "{at} has number {0}, seen before with other content", Kind.SERIAL
    # A zone and its primary.
    STEP_SOA = "step_soa", "asking {at} for the zone's SOA, signed"
    FOUND_SERIAL = "found_serial", "serial {0}, signature verified", Kind.SERIAL
    STEP_TRANSFER = "step_transfer", "transferring the zone from {at} ({word})"
    FOUND_TRANSFER = "found_transfer", "{0:octet} in {1:message}, signatures verified", _COUNT, _COUNT
    KEY_FORM = "key_form", "{at} is not one TSIG key as tsig-keygen or keymgr writes it"
    KEY_ALGORITHM = "key_algorithm", "{at}: the algorithm is {word}; hmac-sha256, -sha384 and -sha512 are accepted"
    KEY_SHORT = "key_short", "{at}: the secret has {0:octet}, at least {1} are needed", _COUNT, _COUNT
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
    ZONE_FROM_DATES = (
        "zone_from_dates",
        "{at} goes from date serials to unix time, {1} to {0}, a step back (RFC 1982): it has to serve {2} first, until"
        " every resolver has it; or both sides take a new TSIG key",
        *(Kind.SERIAL,) * 3,
    )
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
