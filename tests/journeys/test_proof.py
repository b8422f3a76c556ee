"""A list is proved on the real sockets, whoever the clients are; where they lie the previous one is back."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from resolver.feed import audit
from resolver.signed import statement
from tests.fakes.stopwatch import Stopwatch
from tests.journeys.processes import Site, asked, hang_up, list_of, wait_for
from tests.journeys.running import LIST_ID, PAGE_V4
from tests.unit.query.senders import together

LIAR = ("-c", "from tests.journeys.test_proof import serve_a_liar; serve_a_liar()")
BLOCKED = f"{PAGE_V4} EDE 4"


def serve_a_liar() -> None:
    """Be the service; while a file `lie` is in its folder it answers synthetic names over TCP with SERVFAIL."""
    from resolver.cli import main
    from resolver.query.answer import Answer
    from resolver.service import service

    answer = Answer.answer

    def answer_or_lie(self: Any, packet: bytes, client: bytes, transport: Any) -> Any:
        if transport.is_stream and b"\x08selftest\x07invalid\x00" in packet and Path("lie").exists():
            return packet[:2] + b"\x81\x82" + packet[4:]
        return answer(self, packet, client, transport)

    Answer.answer = answer_or_lie  # type: ignore[method-assign]  # what this launcher is for
    # TCP is answered in batches: here one by one, by the function that was replaced. mypy: a function for a class.
    service.FramedAnswers = lambda answer, lane, most: together(answer.answer)  # type: ignore[assignment,misc]
    sys.exit(main.main(sys.argv[1:]))


def receipt_of(site: Site, serial: int) -> dict[str, Any]:
    """The receipt of a serial, once it is there; it holds against the host's key."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    folder = site.folder / "state" / "receipts"
    wait_for(lambda: list(folder.glob(f"{LIST_ID}-{serial}-*.json")), f"the receipt of serial {serial}")
    (path,) = folder.glob(f"{LIST_ID}-{serial}-*.json")
    key = Ed25519PrivateKey.from_private_bytes((site.folder / "state" / "host.key").read_bytes())
    return statement.verified(path.read_bytes(), statement.public_of(key))


PLACES = {
    "one address": ["127.0.0.1:{port}"],
    "both families": ["127.0.0.1:{port}", "[::1]:{port}"],
    "everywhere": ["0.0.0.0:{port}", "[::]:{port}"],
}


@pytest.mark.parametrize("places", PLACES)
def test_a_list_is_proved_on_every_socket_and_then_receipted(places: str, tmp_path: Path) -> None:
    site = Site(tmp_path)
    dns = [one.format(port=site.dns) for one in PLACES[places]]
    site.change("listen", dns=dns)
    serial = site.publish(["bad.test"])
    with site.started() as service:
        said = receipt_of(site, serial)
        assert service.metric("selftest_success") == 1
        assert f"on {2 * len(dns)} sockets ({6 * len(dns)} questions)" in said["tested"]
        assert (said["serial"], said["entries"], said["withdrawn"], said["suspended"]) == (serial, 1, False, False)


STRANGERS = ["192.0.2.0/24"]
ELSEWHERE: dict[str, dict[str, Any]] = {
    "for other clients": {"listen": {"allow": STRANGERS}},
    "judging other clients only": {"list": {"clients": STRANGERS}},
    "sparing this host": {"list": {"exempt": ["127.0.0.0/8", "::1/128"]}},
    "with a limit that is used up": {"limits": {"queries_per_second": 1, "exempt": []}},
    "behind load balancers": {"listen": {"allow": STRANGERS, "proxy_from": ["127.0.0.0/8", "::1/128"]}},
    "with few connections": {"limits": {"connections_per_client": 1, "exempt": []}},
    "answering otherwise": {"list": {"answer": "nxdomain", "basis": "contract"}},
}


@pytest.mark.parametrize("setting", ELSEWHERE)
def test_it_is_proved_whatever_the_clients_are(setting: str, tmp_path: Path) -> None:
    site = Site(tmp_path)
    sections = dict(ELSEWHERE[setting])
    site.lists[0].update(sections.pop("list", {}))
    for name, values in sections.items():
        site.change(name, **values)
    site.change("listen", dns=[f"127.0.0.1:{site.dns}", f"[::1]:{site.dns}"])
    serial = site.publish(["bad.test"])
    with site.started():
        assert "on 4 sockets (12 questions)" in receipt_of(site, serial)["tested"]


def test_a_start_proves_what_was_saved_and_issues_no_second_receipt(tmp_path: Path) -> None:
    site = Site(tmp_path)
    serial = site.publish(["bad.test"])
    with site.started():
        first = receipt_of(site, serial)
    with site.started() as service:
        service.until("/metrics", lambda body: service.metric("selftest_success", body) == 1)
        wait_for(lambda: service.metric("feed_last_success_timestamp_seconds"), "a poll")
    assert receipt_of(site, serial) == first


def test_a_receipt_goes_to_the_folder_of_its_source(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    site = Site(tmp_path)
    site.lists = [list_of(site.authority.folder)]
    site.lists[0]["source"]["receipt"] = str(there)
    site.change("fleet", host="host.example")
    serial = site.publish(["bad.test"])
    with site.started():
        said = receipt_of(site, serial)
        wait_for(lambda: list(there.glob("*.json")), "the delivery")
        (came,) = there.glob("*.json")
        assert came.name == f"host.example-{LIST_ID}-{serial}-1.json"
        assert statement.claimed(came.read_bytes())[0] == said


def test_where_a_socket_answers_otherwise_the_previous_list_is_back_within_a_second(tmp_path: Path) -> None:
    site = Site(tmp_path)
    first = site.publish(["bad.test"])
    state = site.folder / "state" / "lists" / LIST_ID / "state.json"

    def in_force() -> int:
        return int(json.loads(state.read_bytes())["in_force"]["serial"])

    with site.started(LIAR) as service:
        receipt_of(site, first)
        (site.folder / "work" / "lie").touch()
        second = site.publish(["worse.test"])
        hang_up(service)
        wait_for(lambda: in_force() == second, "the swap")
        watch = Stopwatch(service.process.pid)
        wait_for(lambda: in_force() == first, "the way back")
        took = watch.seconds
        print(f"back after {took * 1000:.0f} ms")
        assert took < 1
        assert asked(service.dns, "bad.test") == BLOCKED
        assert asked(service.dns, "worse.test") != BLOCKED
        # Each further poll of the quarantined serial counts too.
        failed = re.compile(rb'failures_total{list="demo",reason="selftest"} [1-9]')
        service.until("/metrics", lambda body: bool(failed.search(body)))
        assert service.metric("selftest_success") == 0
        assert service.metric("list_serial") == first
    entries, _ = audit.verify(site.folder / "state" / "audit.log")
    events = [(one.event.value, one.serial) for one in entries]
    assert events[-2:] == [("quarantined", second), ("gone_back", first)]
    assert not list((site.folder / "state" / "receipts").glob(f"{LIST_ID}-{second}-*"))
