"""doctor/watch.py: a scrape shows the last examination, and nothing once one has failed."""

import http.client
import re
import socket
import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families

from resolver.doctor import catalogue, watch
from resolver.doctor.ask import Endpoint
from resolver.doctor.probes import Examined, NotProbed
from tests.unit.doctor.resolvers import HOST
from tests.unit.doctor.test_report import found


def values(text: str) -> dict[tuple[str, str, str], float]:
    return {
        (one.name, one.labels.get("probe", ""), one.labels.get("verdict", "")): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def test_the_exposition_is_one_and_its_labels_are_the_catalogues() -> None:
    said = values(watch.metrics(found(), 1000.5))
    assert said[("blocklist_doctor_up", "", "")] == 1
    assert said[("blocklist_doctor_examined_timestamp_seconds", "", "")] == 1000.5
    assert said[("blocklist_doctor_probe_verdict", "do", "leaks")] == 1
    assert said[("blocklist_doctor_probe_verdict", "do", "enforced")] == 0
    assert said[("blocklist_doctor_probes", "", "weak")] == 1
    assert said[("blocklist_doctor_queries", "", "")] == 120
    assert {probe for name, probe, _ in said if name.endswith("_verdict")} == set(catalogue.BY_ID)
    assert re.fullmatch(r"[a-z0-9_.,\"={}\s#A-Z:;-]+", watch.metrics(found(), 1.0))


def test_a_run_that_fails_takes_the_verdicts_away() -> None:
    said = values(watch.metrics(None, 5.0))
    assert said == {("blocklist_doctor_up", "", ""): 0, ("blocklist_doctor_examined_timestamp_seconds", "", ""): 5}


def get(port: int, path: str) -> tuple[int, str]:
    one = http.client.HTTPConnection(HOST, port, timeout=20)
    one.request("GET", path)
    response = one.getresponse()
    body = response.read().decode()
    one.close()
    return response.status, body


def test_it_serves_what_it_found_last() -> None:
    runs: list[Examined | NotProbed] = [found(), NotProbed("no reply"), NotProbed("no reply"), NotProbed("other")]
    ports: list[int] = []
    reasons: list[str] = []
    up = threading.Event()

    def examine() -> Examined:
        one = runs.pop(0)
        if isinstance(one, NotProbed):
            raise one
        return one

    watched = watch.Watch(examine, 3600.0, clock=lambda: 7.0)

    def started(port: int) -> None:
        ports.append(port)
        up.set()

    thread = threading.Thread(target=watched.serve, args=(Endpoint(HOST, 0), started, reasons.append))
    thread.start()
    try:
        assert up.wait(20)
        deadline = threading.Event()
        while get(ports[0], "/metrics")[0] != 200:
            assert not deadline.wait(0.02)
        assert "blocklist_doctor_up 1\n" in get(ports[0], "/metrics")[1]
        assert get(ports[0], "/") == (404, "not found\n")
        assert watched.look() == "no reply"
        assert "blocklist_doctor_up 0\n" in get(ports[0], "/metrics")[1]
    finally:
        watched.ended.set()
        thread.join()
    assert not reasons


def test_who_sends_slowly_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LONGEST_S", 0.3)
    ports: list[int] = []
    up = threading.Event()
    watched = watch.Watch(found, 3600.0)

    def started(port: int) -> None:
        ports.append(port)
        up.set()

    thread = threading.Thread(target=watched.serve, args=(Endpoint(HOST, 0), started, str))
    thread.start()
    try:
        assert up.wait(20)
        with socket.create_connection((HOST, ports[0]), timeout=20) as slow:
            slow.sendall(b"GET /metrics HTT")
            assert slow.recv(10) == b"", "it was ended, though nothing whole came"
        assert get(ports[0], "/")[0] == 404
    finally:
        watched.ended.set()
        thread.join()


def test_a_reason_is_said_once() -> None:
    runs = [NotProbed("one"), NotProbed("one"), NotProbed("two")]
    reasons: list[str] = []

    def examine() -> Examined:
        one = runs.pop(0)
        if not runs:
            watched.ended.set()
        raise one

    watched = watch.Watch(examine, 0.001)
    watched.serve(Endpoint(HOST, 0), lambda port: None, reasons.append)
    assert reasons == ["one", "two"]
