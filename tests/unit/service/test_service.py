"""What the composition root decides by itself: what a reload may change, and what happens when a part ends."""

import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from resolver.config.config import Config, ConfigError, HostFault, parse
from resolver.control import requests
from resolver.service import service
from resolver.service.hand_over import NotTaken
from resolver.service.host import systemd
from resolver.service.verbs import Refused, ServiceVerbs
from resolver.service.verbs_read import ReadVerbs
from tests.journeys.processes import Site, asked
from tests.journeys.running import HOST
from tests.unit.query.parts import until

pytestmark = pytest.mark.loops

CANARY = "canary-7f3a.test"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.write()
    return site


def built(site: Site) -> service.Service:
    return service.Service(site.config, loaded(site))


def loaded(site: Site) -> Config:
    return parse(site.config.read_text(), str(site.config))


@pytest.mark.asyncio
@pytest.mark.parametrize("part", ["feed", "counting", "turn_every_hour"])
async def test_a_part_that_ends_stops_the_service_in_order(
    part: str, site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.change("state", without_list="forward")
    running = built(site)
    unready: list[str] = []

    async def fail(*_: object) -> None:
        unready.append(running.unready())
        raise RuntimeError(CANARY)

    if part.startswith("turn"):
        monkeypatch.setattr(running.in_force, part, fail)
    else:
        monkeypatch.setattr(running.enforcement.feed if part == "feed" else running.counting, "run", fail)
    with caplog.at_level(logging.DEBUG, "resolver"):
        assert await running.run() == 1
    assert unready == ["no upstream answers"]
    assert running.unready() == "the service is stopping"
    assert sum("RuntimeError" in line and "stopping" in line for line in caplog.messages) == 1
    assert CANARY not in caplog.text


@pytest.mark.asyncio
async def test_a_stop_ends_every_part_and_frees_every_port(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    running = built(site)
    assert running.unready() == "not every list is in force"
    running.stop()
    assert await running.run() == 0
    assert all(task.cancelled() for task in running._tasks)
    assert not caplog.messages
    for port in site.ports:
        server = await asyncio.start_server(lambda *_: None, HOST, port)
        server.close()
        await server.wait_closed()


@pytest.mark.asyncio
async def test_a_port_that_is_taken_is_named_and_dns_is_served_without_it(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    running = built(site)
    running.late.pause_s = 0.05
    running.forward.health = ()
    told = running.notify = Told()
    metrics = bound(site.ports[2], socket.SOCK_STREAM)
    metrics.listen()
    serving = asyncio.ensure_future(running.run())
    await until(lambda: "READY=1" in told.messages)
    assert f"metrics.listen: {HOST}:{site.ports[2]} (TCP): Address already in use; it is tried again" in caplog.text
    assert told.messages[0].endswith("; NOT listening on 1 socket")
    metrics.close()
    await until(lambda: not running.late.wanted)
    assert "NOT listening" not in told.messages[-1]
    _, writer = await asyncio.open_connection(HOST, site.ports[2])
    writer.close()
    running.stop()
    assert await serving == 0


@pytest.mark.asyncio
async def test_one_address_of_dns_that_is_taken_does_not_take_the_others_down(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    first = site.dns
    with free_for_tcp() as busy:
        other = busy.getsockname()[1]
        site.change("listen", dns=[f"{HOST}:{first}", f"{HOST}:{other}"])
        running = built(site)
        running.late.pause_s = 0.05
        running.forward.health = ()
        told = running.notify = Told()
        serving = asyncio.ensure_future(running.run())
        await until(lambda: "READY=1" in told.messages)
        assert (await asyncio.to_thread(asked, first, "free.test")).startswith("SERVFAIL")
        assert (await asyncio.to_thread(asked, other, "free.test", over="tcp")).startswith("SERVFAIL")
        assert [str(one) for one in running.late.wanted.values()] == [
            f"listen.dns: {HOST}:{other} (UDP): Address already in use"
        ]
    await until(lambda: not running.late.wanted)
    assert (await asyncio.to_thread(asked, other, "free.test")).startswith("SERVFAIL")
    running.stop()
    assert await serving == 0


@pytest.mark.asyncio
async def test_no_address_of_dns_is_a_fault_of_the_host(site: Site) -> None:
    with (
        bound(site.dns, socket.SOCK_DGRAM),
        pytest.raises(HostFault, match=r"listen\.dns: cannot listen there: Address already in use"),
    ):
        await built(site).run()


@pytest.mark.asyncio
async def test_a_control_socket_that_cannot_be_made_ends_no_start(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "CONTROL_S", 0.05)
    path = site.folder / "control"
    path.write_text("")
    site.change("control", socket=str(path), group="")
    running = built(site)
    told = running.notify = Told()
    serving = asyncio.ensure_future(running.run())
    await until(lambda: "READY=1" in told.messages)
    assert "control.socket: something else than a socket is there" in caplog.text
    path.unlink()
    await until(path.is_socket)
    running.stop()
    assert await serving == 0


@pytest.mark.asyncio
async def test_a_reload_takes_what_can_change(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    running = built(site)
    before = running.in_force.tables
    site.change("limits", queries_per_second=9)
    with caplog.at_level(logging.INFO, "resolver"):
        assert await running.reload() == ("limits.queries_per_second",)
    assert running.last_reload is not None
    assert running.last_reload.good
    assert running.in_force.tables is not before
    assert running.answer.tables is running.in_force.tables
    assert running.config.limits.queries_per_second == 9
    assert caplog.messages == ["configuration read again"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("section", "values", "said"),
    [
        ("state", {"without_list": CANARY}, "state.without_list"),
        ("page", {"addresses": [CANARY]}, "page.addresses[0]"),
        ("limits", {"queries_per_second": 0}, "limits.queries_per_second"),
        ("page", {"operator": CANARY * 2000}, ": page"),
        ("cache", {"size": "1MiB"}, "restart to change: cache.size"),
    ],
)
async def test_a_reload_that_is_refused_changes_nothing(
    section: str, values: dict[str, object], said: str, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    running = built(site)
    before, config = running.in_force.tables, running.config
    site.change(section, **values)
    with pytest.raises(Refused) as refused:
        await running.reload()
    assert str(refused.value).startswith(f"{site.config}: ")
    assert said.rpartition(" ")[2] in str(refused.value)
    assert running.last_reload is not None
    assert not running.last_reload.good
    assert running.in_force.tables is before
    assert running.config is config
    assert len(caplog.messages) == 1
    assert caplog.messages[0].endswith(said)
    assert CANARY not in caplog.text


@pytest.mark.asyncio
async def test_a_reload_without_a_file_changes_nothing(site: Site) -> None:
    running = built(site)
    site.config.unlink()
    running._hang_up()
    await until(lambda: running.last_reload is not None)
    assert running.last_reload is not None
    assert not running.last_reload.good


class Told(systemd.Notify):
    """Keeps what would be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def _send(self, message: str) -> None:
        self.messages.append(message.partition("\nMONOTONIC_USEC=")[0])


@pytest.mark.asyncio
async def test_systemd_is_told_when_it_answers_how_it_is_and_when_it_stops(site: Site) -> None:
    running = service.Service(site.config, loaded(site), handed=systemd.Handed(watchdog_s=60.0))
    running.forward.health = ()
    told = running.notify = Told()
    running.in_force.lift("demo")
    assert told.messages == []
    running.in_force.take_out("demo")
    serving = asyncio.ensure_future(running.run())
    await until(lambda: "WATCHDOG=1" in told.messages)
    assert told.messages == ["STATUS=answering; not every list is enforced", "READY=1", "WATCHDOG=1"]
    told.messages.clear()
    running.in_force.lift("demo")
    await running.reload()
    assert told.messages == ["STATUS=answering; every list is enforced", "RELOADING=1", "READY=1"]
    told.messages.clear()
    site.change("cache", size="2MiB")
    running._hang_up()
    await until(lambda: "READY=1" in told.messages)
    refused = "STATUS=answering; every list is enforced; the last reload was refused"
    assert told.messages == ["RELOADING=1", refused, "READY=1"]
    running.stop()
    assert await serving == 0
    assert told.messages[3:] == ["STOPPING=1"]


@pytest.mark.asyncio
async def test_systemd_is_told_of_a_verdict_that_failed(site: Site) -> None:
    running = service.Service(site.config, loaded(site), handed=systemd.Handed(watchdog_s=0.03))
    running.forward.health = ()
    told = running.notify = Told()
    serving = asyncio.ensure_future(running.run())
    await until(lambda: "WATCHDOG=1" in told.messages)
    running.in_force.lift("demo")
    assert told.messages[-1] == "STATUS=answering; every list is enforced"
    running.answer._lane.errors = 1
    await until(lambda: told.messages[-2:] == ["STATUS=answering; not every list is enforced", "WATCHDOG=1"])
    running.stop()
    assert await serving == 0


@pytest.mark.asyncio
async def test_systemd_is_told_within_five_seconds_that_no_upstream_answers(site: Site) -> None:
    """Nobody has asked anything, and nothing listens where the upstream should."""
    running = service.Service(site.config, loaded(site))
    told = running.notify = Told()
    running.in_force.lift("demo")
    serving = asyncio.ensure_future(running.run())
    try:
        await until(lambda: "STATUS=answering; every list is enforced; NO upstream answers" in told.messages, 5)
        assert running.unready() == "no upstream answers"
    finally:
        running.stop()
        assert await serving == 0


@pytest.mark.asyncio
async def test_the_watchdog_hears_nothing_of_a_service_that_does_not_answer(site: Site) -> None:
    running = service.Service(site.config, loaded(site), handed=systemd.Handed(watchdog_s=0.01))
    told = running.notify = Told()
    running.answer.answer = lambda *_: b""  # type: ignore[method-assign] # an answer that is none
    serving = asyncio.ensure_future(running.run())
    await until(lambda: "READY=1" in told.messages)
    for _ in range(100):
        await asyncio.sleep(0)
    running.stop()
    assert await serving == 0
    assert "WATCHDOG=1" not in told.messages


def bound(port: int, kind: socket.SocketKind) -> socket.socket:
    """A socket as systemd hands it over."""
    one = socket.socket(type=kind)
    one.bind((HOST, port))
    if kind is socket.SOCK_STREAM:
        one.listen()
    one.setblocking(False)
    return one


def free_for_tcp() -> socket.socket:
    """A UDP socket at a port that the kernel chose, which nobody has for TCP."""
    for _ in range(20):
        busy = bound(0, socket.SOCK_DGRAM)
        with contextlib.suppress(OSError), socket.socket() as stream:
            stream.bind(busy.getsockname())
            return busy
        busy.close()
    raise AssertionError("no port is free for TCP")


@pytest.mark.asyncio
async def test_sockets_that_were_handed_over_are_listened_on(site: Site) -> None:
    sockets = tuple(bound(site.dns, kind) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM))
    told = Told()
    running = service.Service(site.config, loaded(site), handed=systemd.Handed(sockets=sockets))
    running.notify = told
    serving = asyncio.ensure_future(running.run())
    await until(lambda: "READY=1" in told.messages)
    try:
        for over in ("udp", "tcp"):
            # No list is there yet: an answer nevertheless.
            said = await asyncio.to_thread(asked, site.dns, "free.test", over=over)
            assert said.startswith("SERVFAIL"), said
    finally:
        running.stop()
        assert await serving == 0


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
async def test_a_socket_that_listen_dns_does_not_name_is_an_error(kind: socket.SocketKind, site: Site) -> None:
    with bound(0, kind) as other:
        running = service.Service(site.config, loaded(site), handed=systemd.Handed(sockets=(other,)))
        address = f"{HOST}:{other.getsockname()[1]}"
        with pytest.raises(ConfigError, match=rf"listen\.dns: a socket for {address} was handed over"):
            await running.run()


def test_every_verb_of_the_control_socket_is_carried_out(site: Site) -> None:
    running = built(site)
    reads = ReadVerbs(site.config)
    served = {**ServiceVerbs(running).verbs(), **running.enforcement.verbs(), **reads.verbs()}
    assert set(served) == set(requests.VERBS.values())


class New:
    """A new process that takes over, or does not."""

    pid = 42
    fails = True

    def __init__(self, command: list[str], handed: systemd.Handed) -> None:
        assert command[1:] == sys.orig_argv[1:] or command == sys.argv
        assert handed.watchdog_s == 60.0

    async def takes_over(self, stop_feeding: Callable[[], Awaitable[None]], sockets: Callable[[], list[Any]]) -> None:
        await stop_feeding()
        assert sorted(name for name, _ in sockets()) == ["dns.0", "dns.0", "metrics.0", "page.0"]
        if self.fails:
            raise NotTaken("the new process ended (status 4): the log says why")


@pytest.mark.asyncio
async def test_a_service_goes_on_until_a_new_process_has_taken_over(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "Successor", New)
    running = service.Service(site.config, loaded(site), handed=systemd.Handed(watchdog_s=60.0))
    running.forward.health = ()
    told = running.notify = Told()
    serving = asyncio.ensure_future(running.run())
    await until(lambda: "READY=1" in told.messages)

    def feeds() -> list[asyncio.Task[Any]]:
        return [one for one in asyncio.all_tasks() if one.get_name() == "feed"]

    (before,) = feeds()
    with pytest.raises(NotTaken, match="status 4"):
        await running.hand_over()
    assert before.cancelled()
    (after,) = feeds()
    assert not after.done()
    assert await running.reload() == ()
    monkeypatch.setattr(New, "fails", False)
    assert await running.hand_over() == 42
    with pytest.raises(Refused, match="is being handed over"):
        await running.reload()
    with pytest.raises(NotTaken, match="is being handed over, or stops"):
        await running.hand_over()
    assert await serving == 0
    assert "MAINPID=42" in told.messages
    # It is the new process that systemd listens to now.
    assert "STOPPING=1" not in told.messages


@pytest.mark.asyncio
async def test_what_only_root_can_bind_is_no_new_process_s(site: Site) -> None:
    running = built(site)
    running.late.add("listen.dns", socket.SOCK_DGRAM, loaded(site).listen.dns[0], OSError(98, ""), bool)
    with pytest.raises(NotTaken, match=r"\(UDP\): Address already in use: only a restart can bind it"):
        await running.hand_over()
