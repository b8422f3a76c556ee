"""BIND, Unbound, Recursor, Knot and its resolver follow our list by the configurations that deploy/ ships.

EXPORT_UPDATES, EXPORT_ENTRIES and EXPORT_NAMES make the show larger than the test; its figures are at the end of the
run. What an update costs is of the whole list, but for the transfer: the resolver that reads a file, the relay that
writes it, and the export each go through all names.
"""

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.tsig
import pytest

from tests.fakes.primary import SECRET
from tests.fakes.upstream import in_thread
from tests.journeys import running
from tests.journeys.processes import REAL, honest
from tests.journeys.running import HOST, PAGE_V4, free_ports
from tests.peers import exports
from tests.peers.exports import CHECKED, KEY, ZONE, Export, Resolver, answers, wait_for

UPDATES = int(os.environ.get("EXPORT_UPDATES", "30"))
LOOKS = 10
ENTRIES = int(os.environ.get("EXPORT_ENTRIES", "6000"))
NAMES = int(os.environ.get("EXPORT_NAMES", "600"))
# On a busy machine each update takes two seconds.
pytestmark = [pytest.mark.peers, pytest.mark.timeout(1800 + 4 * UPDATES)]
PROGRAMS = {"bind": "named", "unbound": "unbound", "recursor": "pdns_recursor", "knot": "knotd", "kresd": "kresd"}
Program = Callable[[str], str]


def listed(serial: int) -> list[str]:
    """The lines of a list: every kind of scope, exceptions, names below names, and one that says the serial."""
    lines = [f"serial-{serial}.example"]
    for number in range(ENTRIES // 6):
        lines += [
            f"whole{number}.example",
            f"=only{number}.example",
            f"*.below{number}.example",
            f"!free.whole{number}.example",
            f"deep.x.y.whole{number}.example",
            f"=alone.free.whole{number}.example",
        ]
    return lines


def asked() -> list[str]:
    """Names in and about that list, about its first entries."""
    names = []
    for number in range(NAMES // 10):
        of = [f"whole{number}", f"x.whole{number}", f"free.whole{number}", f"y.free.whole{number}", f"y.whole{number}"]
        of += [f"only{number}", f"x.only{number}", f"below{number}", f"x.below{number}", f"alone.free.whole{number}"]
        names += [f"{one}.example" for one in of]
    return names


@dataclass
class Lab:
    """The export, and resolvers that follow it."""

    export: Export
    resolvers: dict[str, Resolver]
    upstream: int

    def follows(self, serial: int, seconds: float = 60.0) -> dict[str, float]:
        """How long each resolver takes until it blocks the name of a serial, and no longer that of the one before."""
        began = time.monotonic()
        took = {}
        for name, one in self.resolvers.items():
            wait_for(lambda one=one: one.blocks(f"serial-{serial}.example"), lambda one=one: one.said, seconds)
            took[name] = time.monotonic() - began
        return took


@pytest.fixture(scope="module")
def lab(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    paths = {name: program(path) for name, path in PROGRAMS.items()}
    bind, relay, spare, unbound, recursor, kresd = free_ports(6)
    with ExitStack() as stack:
        upstream = stack.enter_context(in_thread(honest)).port
        export = stack.enter_context(exports.exporting(folder / "export", notify=[bind, relay]))
        export.publish(listed(0))
        enter, found = stack.enter_context, {}
        found["bind"] = enter(exports.bind(folder / "bind", export, upstream, bind, paths["bind"]))
        knot = enter(exports.knot_relay(folder / "knot", export, (relay, spare), unbound, paths["knot"]))
        wait_for((knot.folder / "zone" / "rpz.zone").exists, lambda: knot.said + export.said)
        found["unbound"] = enter(exports.unbound(folder / "unbound", relay, upstream, unbound, paths["unbound"]))
        found["recursor"] = enter(exports.recursor(folder / "rec", export, upstream, recursor, paths["recursor"]))
        zone = knot.folder / "zone" / "rpz.zone"
        found["kresd"] = enter(exports.kresd(folder / "kresd", zone, upstream, kresd, paths["kresd"]))
        made = Lab(export, found, upstream)
        made.follows(0)
        yield made


def test_each_follows_every_update_by_differences(lab: Lab, figures: dict[str, str]) -> None:
    before = lab.export.say(exports.Follow(lists=()))  # Only a look: what was followed comes again with the next list.
    took: dict[str, list[float]] = {}
    for serial in range(1, UPDATES + 1):
        status = lab.export.publish(listed(serial))
        assert status.in_step == ("demo",)
        if serial % max(1, UPDATES // LOOKS) == 0:
            for name, seconds in lab.follows(serial).items():
                took.setdefault(name, []).append(seconds)
    lab.follows(UPDATES)
    wait_for(lambda: lab.export.follow(current(lab)).zones[0].behind == 0, lambda: lab.export.said)
    after = lab.export.follow(current(lab))
    told = [f"{name}: {max(seconds):.1f} s at most until a serial blocks" for name, seconds in took.items()]
    whole, differences = after.whole - before.whole, after.differences - before.differences
    load = os.getloadavg()[0]
    told.append(
        f"{UPDATES} updates of a list of {len(listed(0)):,} entries, {differences} incremental transfers, "
        f"{whole} whole ones, load {load:.1f}"
    )
    figures["real resolvers behind the export"] = "\n".join(told)
    assert whole == 0
    # At each look every resolver had that update, and none had it by a whole transfer.
    assert differences >= LOOKS
    for one in lab.resolvers.values():
        assert not one.blocks("serial-1.example"), one.name


def current(lab: Lab) -> str:
    return f"{lab.export.generation}-{lab.export.generation:064x}"[: len(str(lab.export.generation)) + 17]


def test_each_answers_as_we_do(lab: Lab, tmp_path: Path, figures: dict[str, str]) -> None:
    names, lines = asked(), listed(UPDATES)
    lab.follows(UPDATES)
    more = "[limits]\ndistinct_blocked = 0\n"
    with running.serve(tmp_path, upstreams=[f"{HOST}:{lab.upstream}"], entries=lines, more=more) as ours:
        expected = {kind: answers(ours.dns, names, kind) for kind in ("A", "AAAA", "HTTPS")}
    assert set(expected["A"].values()) == {PAGE_V4, REAL}
    assert [len(found) for found in expected.values()] == [len(names)] * 3
    differ = {}
    for name, resolver in lab.resolvers.items():
        for kind, said in expected.items():
            found = answers(resolver.port, names, kind)
            wrong = {one: (said[one], found.get(one, "silence")) for one in names if found.get(one) != said[one]}
            if name == "kresd":
                # An exception ends its policy, and with it the forwarding to this test's upstream: it asks the root.
                assert {found.get(one) for one in wrong if "free." in one} == {"SERVFAIL"}
                wrong = {one: told for one, told in wrong.items() if "free." not in one}
            if wrong:
                differ[name, kind] = (len(wrong), *list(wrong.items())[:3])
    figures["answers that differ from ours"] = f"{len(names)} names, A, AAAA, HTTPS: {differ or 'none'}"
    assert differ == {}


def test_each_says_by_a_fixed_name_that_it_enforces(lab: Lab) -> None:
    found = {name: answers(one.port, [CHECKED]).get(CHECKED) for name, one in lab.resolvers.items()}
    assert found == dict.fromkeys(lab.resolvers, PAGE_V4)


def test_nobody_can_ask_for_the_zone(lab: Lab) -> None:
    for name, one in lab.resolvers.items():
        found = answers(one.port, [ZONE, f"whole1.example.{ZONE}"], "SOA")
        assert all("localhost" not in said for said in found.values()), (name, found)
        found = answers(one.port, [f"whole1.example.{ZONE}"])
        assert PAGE_V4 not in found.values(), name
        try:
            reply = dns.query.tcp(dns.message.make_query(ZONE, "AXFR"), HOST, 10, one.port)
        except (EOFError, OSError, dns.exception.Timeout):
            continue
        assert not reply.answer, name


def transfer(lab: Lab, key: dns.tsig.Key | None, source: str = HOST) -> int | str:
    """How many records the first message of a transfer has, or why there are none."""
    query = dns.message.make_query(ZONE, "AXFR")
    if key is not None:
        query.use_tsig(key)
    try:
        with socket.create_connection((HOST, lab.export.plain), 10, (source, 0)) as one, one.makefile("rb") as replies:
            one.sendall(query.to_wire(prepend_length=True))
            reply = replies.read(int.from_bytes(replies.read(2), "big"))
    except OSError as error:
        return type(error).__name__
    if not reply:
        return "closed"
    return int.from_bytes(reply[6:8], "big") or dns.rcode.to_text(dns.rcode.Rcode(reply[3] & 15))


def test_a_wrong_key_no_key_a_stranger_and_a_flood_get_nothing(lab: Lab) -> None:
    right = dns.tsig.Key(f"{KEY}.", SECRET, "hmac-sha256")
    wrong = dns.tsig.Key(f"{KEY}.", "b3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIgb3Q=", "hmac-sha256")
    refused = lab.export.follow(current(lab)).refused
    assert "REFUSED" in str(transfer(lab, None))
    assert "NOTAUTH" in str(transfer(lab, wrong))
    assert isinstance(transfer(lab, right, source="127.0.0.9"), str)
    found = [transfer(lab, right) for _ in range(12)]
    assert 0 < sum(isinstance(one, int) and one > 3 for one in found) <= 6
    assert "REFUSED" in str(found[-1])
    assert lab.export.follow(current(lab)).refused >= refused + 3 + 6
    with socket.create_connection((HOST, lab.export.tls), timeout=10) as plain:
        plain.sendall(dns.message.make_query(ZONE, "AXFR").to_wire(prepend_length=True))
        assert plain.recv(512)[:2] in (b"", b"\x15\x03"), "an alert of TLS, or nothing"
    # And who follows goes on following.
    lab.export.publish(listed(UPDATES + 1))
    lab.follows(UPDATES + 1)


def test_a_list_that_is_withdrawn_blocks_nowhere(lab: Lab) -> None:
    lab.export.follow("")
    for one in lab.resolvers.values():
        wait_for(lambda one=one: not one.blocks("whole1.example"), lambda one=one: one.said)
        assert answers(one.port, ["whole1.example"]) == {"whole1.example": REAL}, one.name
        # A balancer finds out: this resolver enforces nothing.
        wait_for(
            lambda one=one: answers(one.port, [CHECKED]).get(CHECKED) != PAGE_V4, lambda one=one: f"{one.name} enforces"
        )
