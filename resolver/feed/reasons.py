"""Reasons why an update fails, why a line is refused and why one is set aside: the labels that metrics carry.

Rules:
- A value is a public name: add values and never rename one.
- Nothing here reads a list. Code that serves takes its labels from here and never imports `feed.names`.
"""

from enum import StrEnum
from typing import Self


class Whose(StrEnum):
    """Where the cause of a failed update lies, and so who can remove it.

    AUTHORITY: what the authority signed or served is wrong; only the authority can correct it. HOST: this host or
    its network; the list was not judged. LIST: the list, or what is configured for it.
    """

    AUTHORITY = "authority"
    LIST = "list"
    HOST = "host"


class Reason(StrEnum):
    """Why an update failed; `whose` is LIST unless a member says otherwise."""

    whose: Whose

    def __new__(cls, value: str, whose: Whose = Whose.LIST) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.whose = whose
        return member

    # Fetch and verify.
    UNREACHABLE = "unreachable", Whose.HOST
    UNREADABLE = "unreadable", Whose.HOST
    TAMPERED = "tampered", Whose.AUTHORITY
    MALFORMED = "malformed"
    EXPIRED = "expired"
    FROZEN = "frozen"
    ROLLED_BACK = "rolled_back", Whose.AUTHORITY
    MIXED = "mixed", Whose.AUTHORITY
    TOO_FEW_SIGNATURES = "too_few_signatures", Whose.AUTHORITY
    OVERSIZED = "oversized"
    UNKNOWN_TARGET = "unknown_target"
    WRONG_LIST = "wrong_list"
    ROOT_UNUSABLE = "root_unusable"
    KEY_UNUSABLE = "key_unusable"
    DENIED = "denied"
    NOT_SIGNED = "not_signed"
    NOT_ENCRYPTED = "not_encrypted"
    IDENTITY_UNUSABLE = "identity_unusable"
    TOO_OLD = "too_old"
    TRANSFER = "transfer"
    # Accept, compile and enforce.
    NOT_UTF8 = "not_utf8"
    EMPTY = "empty"
    TOO_MANY_ENTRIES = "too_many_entries"
    SERIAL_REUSED = "serial_reused", Whose.AUTHORITY
    QUARANTINED = "quarantined"
    CLOCK_BEHIND = "clock_behind"
    SELFTEST = "selftest"
    SWAP = "swap"
    # At any step.
    TIMED_OUT = "timed_out", Whose.HOST
    OUT_OF_MEMORY = "out_of_memory", Whose.HOST
    STATE_NOT_WRITTEN = "state_not_written", Whose.HOST
    STATE_UNREADABLE = "state_unreadable", Whose.HOST
    IMAGE_UNUSABLE = "image_unusable"
    PROCESS = "process", Whose.HOST
    PROTECTED_UNREADABLE = "protected_unreadable"
    INTERNAL = "internal", Whose.HOST


class Refusal(StrEnum):
    """Why a line can never become an entry."""

    URL = "url"
    ADDRESS = "address"
    ROOT = "root"
    TLD = "tld"
    ICANN_SUFFIX = "icann_suffix"
    MALFORMED = "malformed"
    TOO_LONG = "too_long"
    RESERVED = "reserved"
    NOT_RESERVED = "not_reserved"
    SELFTEST = "selftest"
    TRIGGER = "trigger"
    ACTION = "action"
    LOOSE_EXCEPTION = "loose_exception"
    DISAGREES = "disagrees"
    WILDCARD = "wildcard"
    SEVERAL_WORDS = "several_words"
    PORT = "port"
    OUT_OF_ZONE = "out_of_zone"
    DIRECTIVE = "directive"


class SetAside(StrEnum):
    """Why the entry of a line does not block until a signature approves it."""

    PROTECTED = "protected"
    INFRASTRUCTURE = "infrastructure"
    PRIVATE_SUFFIX = "private_suffix"
    POPULAR = "popular"
    IN_USE = "in_use"


class Shape(StrEnum):
    """What a file looks like by its form alone: none of its words is needed to say so."""

    HOSTS = "hosts"
    ADBLOCK = "adblock"
    DNSMASQ = "dnsmasq"
    UNBOUND = "unbound"
    RPZ = "rpz"
    CSV = "csv"
    URLS = "urls"
    WILDCARDS = "wildcards"
    PLAIN = "plain"
    COMMAS = "commas"
    HTML = "html"
    XML = "xml"
    JSON = "json"
    REGEX = "regex"
    ADDRESSES = "addresses"
    OPENPGP = "openpgp"
    AGE = "age"
    GZIP = "gzip"
    BZIP2 = "bzip2"
    XZ = "xz"
    ZSTD = "zstd"
    ZIP = "zip"
    XLSX = "xlsx"
    XLS = "xls"
    PDF = "pdf"
    UTF16 = "utf16"
    LATIN1 = "latin1"
    BINARY = "binary"
