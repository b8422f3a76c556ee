"""Says by which numbers a list that verified is refused: its serial, its dates, this host's clock."""

from resolver.feed.details import Code, Detail, Place
from resolver.feed.messages import Facts
from resolver.feed.reasons import Reason
from resolver.feed.state import Floor, State


def of(reason: Reason, facts: Facts, state: State, floor: Floor | None, *, minimum: int, now: float) -> Detail | None:
    """Return the detail of a reason for which `state.refusal` refuses a list; None if there is nothing to add."""
    custom = facts.custom
    records = ([floor.record] if floor else []) + ([state.held.record] if state.held else [])
    versions = [one.root_version for one in records if one.pinned == facts.pinned]
    records = [one for one in records if one.targets_keys == facts.targets_keys]
    serials, dates = [one.serial for one in records], [one.issued for one in records]
    serial = custom.serial
    match reason:
        case Reason.WRONG_LIST:
            return Detail(code=Code.OTHER_LIST)
        case Reason.CLOCK_BEHIND:
            return Detail(code=Code.DATED_AHEAD, numbers=(max(int(max([custom.issued, *dates]) - now), 1),))
        case Reason.QUARANTINED:
            return Detail(code=Code.TAKEN_OUT, numbers=(serial,))
        case Reason.SERIAL_REUSED:
            return Detail(code=Code.SERIAL_TWICE, numbers=(serial,))
        case Reason.ROLLED_BACK if facts.root_version < max(versions, default=0):
            return Detail(code=Code.VERSION_LOWER, at=Place.ROOT, numbers=(facts.root_version, max(versions)))
        case Reason.ROLLED_BACK if serial < minimum:
            return Detail(code=Code.SERIAL_MINIMUM, numbers=(serial, minimum))
        case Reason.ROLLED_BACK if serial < max(serials, default=0):
            return Detail(code=Code.SERIAL_LOWER, numbers=(serial, max(serials)))
        case Reason.ROLLED_BACK if custom.issued < max(dates, default=0):
            return Detail(code=Code.ISSUED_EARLIER, numbers=(serial, custom.issued, max(dates)))
    return None
