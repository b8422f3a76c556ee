"""Zones of rules: records by profile, serials that only grow, differences that lead from one version to the next."""

from collections.abc import Iterable

import dns.message
import dns.name
import dns.rdatatype
import dns.tsig
import dns.xfr
import dns.zone
import pytest

from resolver.core.codes import BLOCK_BELOW, BLOCK_SELF, EXCEPT_BELOW, EXCEPT_SELF
from resolver.feed.names import export_zone
from resolver.feed.names.export_rules import rules
from resolver.feed.names.export_zone import Answer, Data, Zone, wire_of

WHOLE, SPARED = BLOCK_SELF | BLOCK_BELOW, EXCEPT_SELF | EXCEPT_BELOW
PAGE = Answer("page", ("192.0.2.1", "2001:db8::1"))
ORIGIN = dns.name.from_text("rpz.example.")


def of(lists: dict[str, int], answer: Answer = PAGE, profile: str = "bind", page: str = "") -> dict[bytes, Data]:
    found = rules([{wire_of(name)[:-1]: bits for name, bits in lists.items()}])
    records, _ = export_zone.records_of(found, [answer], profile=profile, page=page, room=240)
    return records


def transferred(zone: Zone, records: Iterable[bytes], kind: str, into: dns.zone.Zone) -> None:
    """Read a transfer as a secondary does."""
    rdtype = dns.rdatatype.from_text(kind)
    serial = None if kind == "AXFR" else into.get_soa().serial
    with dns.xfr.Inbound(into, rdtype, serial) as inbound:
        done = False
        for wire in zone.messages(7, int(rdtype), records):
            done = inbound.process_message(dns.message.from_wire(wire, xfr=True, origin=ORIGIN, one_rr_per_rrset=True))
        assert done


def copy_of(zone: Zone) -> dns.zone.Zone:
    made = dns.zone.Zone(ORIGIN, relativize=True)
    transferred(zone, zone.whole(), "AXFR", made)
    return made


def told(zone: dns.zone.Zone) -> set[str]:
    return {
        f"{name} {dns.rdatatype.to_text(data.rdtype)} {data}"
        for name, _, data in zone.iterate_rdatas()
        if str(name) != "@"
    }


def test_a_zone_says_what_a_list_says_in_the_form_of_a_policy_zone() -> None:
    zone = Zone(wire_of("rpz.example"))
    assert zone.publish(of({"bad.test": WHOLE, "free.bad.test": SPARED, "only.test": BLOCK_SELF}), 1000)
    assert told(copy_of(zone)) == {
        *(f"{name} {data}" for name in ("bad.test", "*.bad.test", "only.test", "*._https.only.test")
          for data in ("A 192.0.2.1", "AAAA 2001:db8::1")),
        "free.bad.test CNAME rpz-passthru.",
        "*.free.bad.test CNAME rpz-passthru.",
    }  # fmt: skip


def test_answers_without_a_page() -> None:
    one = {"bad.test": WHOLE, "free.bad.test": SPARED, "worse.test": WHOLE}
    nothing, denied = ((export_zone.record_of(5, data),) for data in (b"\x01*\x00", b"\x00"))
    assert of(one, Answer("nodata"))[wire_of("bad.test")[:-1]] == nothing
    found = of(one, Answer("nxdomain"))
    assert found[wire_of("worse.test")[:-1]] == denied
    assert found[wire_of("bad.test")[:-1]] == nothing, "an exception stands below it (RFC 8020)"
    assert of(one, Answer("page", ()))[wire_of("bad.test")[:-1]] == nothing


def test_the_form_of_knot6_leads_wildcards_to_the_page_and_leaves_exceptions_out() -> None:
    found = of({"bad.test": WHOLE, "free.bad.test": SPARED}, profile="knot6", page="blocked.example")
    assert found[wire_of("*.bad.test")[:-1]] == (export_zone.record_of(5, wire_of("blocked.example")),)
    assert len(found[wire_of("bad.test")[:-1]]) == 2
    assert wire_of("free.bad.test")[:-1] not in found


def test_what_does_not_fit_below_the_zone_is_left_out_and_counted() -> None:
    name = ".".join(["x" * 60] * 4)
    found = rules([{wire_of(name)[:-1]: WHOLE, wire_of("bad.test")[:-1]: WHOLE}])
    room = Zone(wire_of("rpz.example")).room
    records, left_out = export_zone.records_of(found, [PAGE], profile="bind", page="", room=room)
    assert (len(records), left_out) == (2, 2)


def test_a_serial_moves_with_the_records_alone_and_only_grows() -> None:
    zone = Zone(wire_of("rpz.example"))
    one, other = of({"bad.test": WHOLE}), of({"worse.test": WHOLE})
    assert zone.publish(one, 1000)
    assert (zone.serial, zone.publish(dict(one), 2000), zone.serial) == (1000, False, 1000)
    assert zone.publish(other, 500)
    assert zone.serial == 1001, "the clock went back"
    assert zone.publish(one, 5000)
    assert zone.serial == 5000
    high = Zone(wire_of("rpz.example"), 2**32 - 1)
    high.publish(one, 2**32 - 5)
    assert high.serial == 1
    assert export_zone.newer(1, 2**32 - 1)
    assert not export_zone.newer(5, 5)


def test_differences_lead_to_what_a_whole_transfer_gives() -> None:
    zone, many = Zone(wire_of("rpz.example")), {f"n{number}.test": WHOLE for number in range(50)}
    zone.publish(of(many), 1000)
    secondary = copy_of(zone)
    zone.publish(of({**many, "more.test": BLOCK_SELF}), 1001)
    zone.publish(of({name: bits for name, bits in many.items() if name != "n7.test"}), 1002)
    zone.publish(of({**many, "n8.test": BLOCK_SELF}), 1003)
    changes = zone.changes_since(1000)
    assert changes is not None
    assert [(one.before, one.after) for one in changes] == [(1000, 1001), (1001, 1002), (1002, 1003)]
    transferred(zone, zone.difference(changes), "IXFR", secondary)
    assert told(secondary) == told(copy_of(zone))
    assert secondary.get_soa().serial == 1003
    assert zone.changes_since(1003) == []


def test_the_history_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_zone, "MOST_VERSIONS", 3)
    monkeypatch.setattr(export_zone, "LEAST_KEPT_RECORDS", 20)
    zone, many = Zone(wire_of("rpz.example")), {f"n{number}.test": WHOLE for number in range(8)}
    for serial in range(1000, 1006):
        zone.publish(of({**many, f"m{serial}.test": BLOCK_SELF}), serial)
    assert len(zone.history) == 3
    assert zone.changes_since(1001) is None
    assert zone.changes_since(7) is None
    zone.publish(of({f"o{number}.test": WHOLE for number in range(8)}), 2000)
    assert zone.changes_since(1005) is None, "more records changed than are kept"


def test_a_zone_that_goes_on_after_a_restart_has_its_serial_and_no_history() -> None:
    zone = Zone(wire_of("rpz.example"), 1000)
    zone.resume(of({"bad.test": WHOLE}))
    assert (zone.loaded, zone.serial, zone.changes_since(999), zone.changes_since(1000)) == (True, 1000, None, [])


def test_a_transfer_that_began_is_of_one_version() -> None:
    zone = Zone(wire_of("rpz.example"))
    zone.publish(of({f"n{number}.test": WHOLE for number in range(900)}), 1000)
    messages = zone.messages(7, 252, zone.whole())
    first = next(messages)
    zone.publish(of({"bad.test": WHOLE}), 1001)
    rest = list(messages)
    assert rest, "more than one message"
    last = dns.message.from_wire(rest[-1], xfr=True, one_rr_per_rrset=True)
    assert (last.answer[-1][0].serial, len(first) <= export_zone.MESSAGE_OCTETS + 300) == (1000, True)
