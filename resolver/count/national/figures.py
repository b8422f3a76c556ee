"""Reads the figures that an operator submits: a month's attempts of each list, from a report's days or from a file."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Final

import msgspec

from resolver.config.values import many
from resolver.count.national.forms import Refused
from resolver.count.national.roster import Roster
from resolver.count.report.days import Days, Place

MOST_FILE: Final = 2**16


def span_of(roster: Roster) -> tuple[date, date]:
    """Return the first and the last day of a roster's month."""
    first = date(int(roster.month[:4]), int(roster.month[5:]), 1)
    return first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)


def of_days(facts: Mapping[Place, Days], roster: Roster) -> dict[str, int]:
    """Return the attempts of each list of the roster in its month, over all regions; Refused if they are not known.

    A day without figures counts nothing, as in `report`: gaps only lower a figure.
    """
    first, last = span_of(roster)
    found: dict[str, int] = {}
    for place, days in facts.items():
        for day, one in days.items():
            if place.list_id not in roster.lists or not first <= day <= last or one.attempts is None:
                continue
            others = one.definitions - {roster.definition}
            if others:
                raise Refused(
                    f"{day}: counted by definition {min(others)}, the roster's is {roster.definition}: figures of two "
                    "definitions are never added"
                )
            found[place.list_id] = found.get(place.list_id, 0) + one.attempts
    return _whole(found, roster)


def of_file(data: bytes, roster: Roster) -> dict[str, int]:
    """Return the figures in a file, a JSON object of list id and attempts; Refused."""
    try:
        found = msgspec.json.decode(data, type=dict[str, int])
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refused('--figures: expected a JSON object of list id and attempts, as {"court": 16800}') from None
    return _whole(found, roster)


def _whole(found: dict[str, int], roster: Roster) -> dict[str, int]:
    missing = [name for name in roster.lists if name not in found]
    if missing:
        raise Refused(
            f"no figures of {roster.month} for {many(len(missing), 'list')} of the roster: {', '.join(missing)}. "
            "Give them with --figures FILE (0 if the list was not enforced)"
        )
    return {name: found[name] for name in roster.lists}
