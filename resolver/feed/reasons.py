"""Why an update did not happen: the closed list behind `feed_failures_total{list,reason}`, the log and the audit."""

from enum import StrEnum


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
