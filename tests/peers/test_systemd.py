"""The units as systemd reads them, the service under what they ask of the kernel and with sockets handed over."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from resolver.authority.publish import FRESH_SECONDS
from tests.journeys import accounts
from tests.journeys.processes import Site, asked, child_of, hang_up, wait_for
from tests.journeys.running import HOST, PAGE_V4, ROOT, Service, free_ports, stop
from tests.unit.edge.certificates import Files
from tests.unit.edge.requests import request

UNITS = ROOT / "deploy" / "systemd"
SERVICE = UNITS / "blocklist-resolver.service"
TEMPLATE = UNITS / "blocklist-resolver@.service"
ANNOUNCE, EXABGP = (UNITS.parent / "anycast" / f"blocklist-{name}.service" for name in ("announce", "exabgp"))
REFRESH = UNITS / "blocklist-authority-refresh.service"
OF_DEBIAN = "/usr/bin/python3"
SANDBOX = Path(__file__).with_name("sandbox.py")
RECEIPTS = UNITS / "blocklist-receipts.service"
EDGE = UNITS / "blocklist-edge@.service"
OF_RECEIPTS = (RECEIPTS, RECEIPTS.with_suffix(".socket"))
MOST_EXPOSED = 1.7

Program = Callable[[str], str]


def said(*command: str | Path) -> str:
    """What a command says; it must end well."""
    ended = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def test_the_units_are_understood_to_the_last_line(program: Program, tmp_path: Path) -> None:
    """The command stands where an install would put it; here that is a file that is there."""
    copies = []
    others = (EDGE, REFRESH, REFRESH.with_suffix(".timer"), *OF_RECEIPTS)
    for unit in (SERVICE, TEMPLATE, ANNOUNCE, EXABGP, UNITS / "blocklist-resolver.socket", *others):
        copies.append(tmp_path / unit.name)
        installed = r"/opt/blocklist-resolver/bin/blocklist-resolver|/usr/sbin/exabgp"
        copies[-1].write_text(re.sub(installed, "/bin/true", unit.read_text()))
    assert said(program("systemd-analyze"), "verify", "--man=no", *copies) == ""


@pytest.mark.parametrize(
    "unit", [SERVICE, TEMPLATE, ANNOUNCE, EXABGP, REFRESH, RECEIPTS, EDGE], ids=lambda unit: unit.stem
)
def test_what_an_intruder_could_do_is_little(unit: Path, program: Program) -> None:
    report = said(program("systemd-analyze"), "security", "--offline=true", unit)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", report)
    assert found, report
    assert float(found[1]) <= MOST_EXPOSED


def test_the_accounts_are_understood(program: Program) -> None:
    report = said(program("systemd-sysusers"), "--dry-run", *UNITS.glob("*sysusers.conf"))
    assert "blocklist-resolver" in report
    assert "blocklist-authority" in report
    assert "blocklist-receipts" in report
    assert "blocklist-edge" in report


def test_freshness_is_signed_long_before_it_ends(program: Program) -> None:
    """Three runs may fail."""
    timer = REFRESH.with_suffix(".timer").read_text()
    calendar = re.search(r"^OnCalendar=(.*)$", timer, re.MULTILINE)
    assert calendar
    told = said(program("systemd-analyze"), "calendar", "--iterations=4", calendar[1])
    runs = [datetime.fromisoformat(one) for one in re.findall(r": \w{3} (\S+ \S+) UTC$", told, re.MULTILINE)]
    assert len(runs) == 4
    assert all((later - run).total_seconds() <= FRESH_SECONDS / 4 for run, later in pairwise(runs))
    assert "Persistent=true" in timer
    assert " authority refresh " in REFRESH.read_text()


def test_what_does_not_change_without_a_person(program: Program) -> None:
    """What the guarantees rest on, and no score would miss."""
    text = SERVICE.read_text()
    for line in ("LimitCORE=0", "SystemCallErrorNumber=EPERM", "OOMPolicy=continue", "Type=notify", "UMask=0077"):
        assert f"\n{line}\n" in text
    watchdog = re.search(r"^WatchdogSec=(\d+)$", text, re.MULTILINE)
    assert watchdog
    assert int(watchdog[1]) >= 60


@pytest.fixture
def folder(program: Program) -> Iterator[Path]:
    """Where an account may go, once all is there that the sandbox needs."""
    program("systemd-analyze")
    if subprocess.run([OF_DEBIAN, "-c", "import seccomp"], capture_output=True, check=False).returncode != 0:
        program("python3-seccomp")  # no program, and so a skip or a failure that names the package
    with accounts.open_folder() as found:
        yield found


def run(site: Site, *command: str | Path) -> Service:
    """The service of a site, started by this command."""
    site.write()
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with open(site.folder / "stdout", "ab") as out, open(site.folder / "stderr", "ab") as err:
        process = subprocess.Popen(
            [*map(str, command), "run", "--config", str(site.config)], stdout=out, stderr=err, env=environment, cwd=ROOT
        )
    dns, page, metrics = site.ports
    return Service(
        dns=dns, page=page, metrics=metrics, folder=site.folder, authority=site.authority, process=process
    )


def test_it_does_all_its_work_under_what_the_unit_asks_of_the_kernel(folder: Path) -> None:
    """Filter of system calls, no memory both writable and executable, a /proc of processes alone, one capability."""
    site = accounts.site_of(folder, user="")
    interpreter = (sys.executable, "-m", "resolver")
    service = run(site, OF_DEBIAN, SANDBOX, SERVICE, *interpreter)
    try:
        service.until("/readyz")
        assert asked(site.dns, accounts.LISTED) == f"{PAGE_V4} EDE 4"
        assert asked(site.dns, accounts.LISTED, over="tcp") == f"{PAGE_V4} EDE 4"
        serial = site.publish([accounts.LISTED, "later.test"])
        for path in (folder / "authority").rglob("*"):
            os.chown(path, accounts.NOBODY.pw_uid, accounts.NOBODY.pw_gid)
        hang_up(service)
        service.until_serial(serial)
        assert asked(site.dns, "later.test") == f"{PAGE_V4} EDE 4"
        code, page = service.get("/", service.page)
        assert (code, b"</html>" in page) == (451, True)
        assert os.sched_getscheduler(child_of(service, "resolver.service.page_process")) == os.SCHED_IDLE
        status = Path(f"/proc/{service.process.pid}/status").read_text()
        assert "\nSeccomp:\t2\n" in status
        assert "\nCapPrm:\t0000000000000000\n" in status
        assert "\nNoNewPrivs:\t1\n" in status
    finally:
        ended = stop(service.process)
    assert ended == 0, service.said
    assert "PR_SET_MDWE" not in service.said


def test_a_filter_that_takes_too_much_is_noticed(folder: Path) -> None:
    """Without capset the capability stays, and a start that cannot give it up fails."""
    unit = folder / "unit.service"
    unit.write_text(SERVICE.read_text().replace("SystemCallFilter=@chown capset", "SystemCallFilter=@chown"))
    service = run(
        accounts.site_of(folder, user=""), OF_DEBIAN, SANDBOX, unit, sys.executable, "-m", "resolver"
    )
    assert service.process.wait(30) == 2
    assert "listen.user: the kernel still shows CapInh" in service.said


def edge_under(unit: Path, folder: Path) -> tuple[str, str]:
    """The log of an edge under what a unit asks of the kernel, and its /proc/PID/status once it takes queries."""
    files = Files(folder)
    files.issue(days=3650)
    for path in (files.certificate, files.key):
        os.chown(path, accounts.NOBODY.pw_uid, accounts.NOBODY.pw_gid)
    tls = ((HOST, free_ports(1)[0]),)
    asked_of_it = request(tls=tls, certificate=str(files.certificate), key=str(files.key), demonstration=False)
    command = [OF_DEBIAN, SANDBOX, unit, sys.executable, "-m", "resolver.edge.process"]
    log = folder / "log"
    with open(log, "wb") as err:
        process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.PIPE, stderr=err, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
    try:
        assert process.stdin is not None
        with process.stdin:
            process.stdin.write(msgspec.json.encode(asked_of_it) + b"\n")
        wait_for(lambda: "takes queries" in log.read_text() or process.poll() is not None, "the edge")
        assert process.poll() is None, log.read_text()
        return log.read_text(), Path(f"/proc/{process.pid}/status").read_text()
    finally:
        process.terminate()
        process.wait(30)


def test_an_edge_under_its_unit_gives_its_capability_up(folder: Path) -> None:
    log, status = edge_under(EDGE, folder)
    assert "\nSeccomp:\t2\n" in status
    for field in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert f"\n{field}:\t0000000000000000\n" in status, field
    assert "\nNoNewPrivs:\t1\n" in status
    assert "capability" not in log


def test_an_edge_whose_filter_takes_too_much_says_so_and_answers(folder: Path) -> None:
    """As under a copy of the unit of a release before: clients are answered, and the operator is told."""
    unit = folder / "edge.service"
    unit.write_text(EDGE.read_text().replace("prlimit64 capset", "prlimit64"))
    log, status = edge_under(unit, folder)
    assert "\nCapPrm:\t0000000000000400\n" in status
    assert log.count("the capability for ports below 1024 cannot be given up") == 1


def activated(program: Program, site: Site, *options: str) -> Service:
    """The service as systemd starts it once something comes by a socket that systemd holds."""
    activate = (program("systemd-socket-activate"), *options, "-E", f"PYTHONPATH={ROOT}")
    service = run(site, *activate, sys.executable, "-m", "resolver")
    wait_for(lambda: "Listening on" in service.said, "systemd-socket-activate")
    return service


@pytest.mark.parametrize(("over", "options"), [("udp", ("--datagram",)), ("tcp", ())])
def test_a_query_that_was_there_before_the_service_is_answered(
    over: str, options: tuple[str, ...], program: Program, tmp_path: Path
) -> None:
    site = Site(tmp_path)
    site.publish([accounts.LISTED])
    with site.started():
        assert asked(site.dns, accounts.LISTED) == f"{PAGE_V4} EDE 4"
    service = activated(program, site, *options, "-l", f"{HOST}:{site.dns}")
    try:
        assert asked(site.dns, accounts.LISTED, over=over, seconds=20.0) == f"{PAGE_V4} EDE 4"
        for other in ("udp", "tcp"):
            assert asked(site.dns, accounts.LISTED, over=other) == f"{PAGE_V4} EDE 4"
    finally:
        ended = stop(service.process)
    assert ended == 0, service.said


def test_a_socket_that_the_configuration_does_not_name_ends_the_start(program: Program, tmp_path: Path) -> None:
    site = Site(tmp_path)
    other = free_ports(1)[0]
    service = activated(program, site, "--datagram", "-l", f"{HOST}:{other}")
    with contextlib.suppress(OSError):
        asked(other, accounts.LISTED, seconds=1.0)
    assert service.process.wait(30) == 2
    assert f"listen.dns: a socket for {HOST}:{other} was handed over, and listen.dns does not name it" in service.said
