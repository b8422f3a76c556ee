"""Approvals by the real ssh-keygen, over a whole service and the real command line."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from resolver.feed import audit
from tests.fakes.upstream import Upstream, in_thread
from tests.journeys.processes import honest
from tests.journeys.running import HOST, ROOT, Service, launch, serve, stop

pytestmark = [pytest.mark.peers, pytest.mark.timeout(180)]

Said = subprocess.CompletedProcess[str]
KINDS = {"anna": ("ed25519",), "ben": ("ecdsa", "-b", "256"), "carl": ("rsa", "-b", "4096")}


class Office:
    """The keys of persons, the file that allows them, and what they type."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "office"
        self.folder.mkdir(mode=0o700)
        self.signers = self.folder / "allowed_signers"
        self.config = folder / "resolver.toml"
        for person in KINDS:
            self.key(person, *KINDS[person])
        self.allow(*map(self.line, KINDS))

    def key(self, name: str, kind: str, *more: str) -> None:
        subprocess.run(
            ["ssh-keygen", "-q", "-t", kind, *more, "-N", "", "-C", "", "-f", str(self.folder / name)], check=True
        )

    def line(self, person: str, options: str = "", key: str = "") -> str:
        public = " ".join((self.folder / f"{key or person}.pub").read_text().split()[:2])
        return f"{person} {options} {public}\n"

    def allow(self, *lines: str) -> None:
        self.signers.write_text("".join(lines))
        self.signers.chmod(0o644)

    def run(self, *words: str) -> Said:
        done = subprocess.run(
            [sys.executable, "-m", "resolver", "list", *words, "--config", str(self.config)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=60,
            check=False,
        )
        print("$ list", *words, "\n" + done.stdout + done.stderr)
        return done

    def statement(self, action: str) -> str:
        done = self.run("held", "demo", "--statement", action)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def sign(self, person: str, data: str, *, namespace: str = "blocklist-resolver") -> str:
        path = self.folder / f"{person}.statement"
        path.write_text(data)
        (self.folder / f"{person}.statement.sig").unlink(missing_ok=True)
        words = ["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", str(self.folder / person), str(path)]
        subprocess.run(words, check=True, capture_output=True)
        kept = self.folder / f"{person}-{time.monotonic_ns()}.sig"
        return str(shutil.copy(f"{path}.sig", kept))


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with in_thread(honest) as running:
        yield running


@pytest.fixture
def service(tmp_path: Path, upstream: Upstream) -> Iterator[Service]:
    """Serial 1 is in force; a list that grows is held."""
    entries = [f"name{n}.test" for n in range(600)]
    with serve(tmp_path, upstreams=[upstream.address], entries=entries, every="1h") as running:
        running.until_serial(1)
        yield running


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Office:
    """The control section of the configuration names its file."""
    from tests.journeys import running

    text = running.CONFIGURATION.replace("growth = 100.0", "growth = 0.2")
    text = text.replace('group = ""', f'group = ""\napprovers = "{tmp_path}/office/allowed_signers"')
    monkeypatch.setattr(running, "CONFIGURATION", text)
    return Office(tmp_path)


def held(office: Office, service: Service, count: int = 2000) -> None:
    """Publish more names than the guard lets pass, and fetch them."""
    service.authority.publish([f"name{n}.test" for n in range(count)])
    assert "is held (growth)" in office.run("fetch", "demo").stdout


def serial(service: Service) -> float | None:
    return service.metric("list_serial")


def test_two_of_three_kinds_of_keys_put_a_held_list_in_force(office: Office, service: Service) -> None:
    held(office, service)
    screen = office.run("held", "demo").stdout
    assert "2 more signatures needed" in screen
    assert "name1" not in screen
    data = office.statement("approve")
    assert json.loads(data)["serial"] == 2
    one = office.run("approve", "demo", "2", "--signature", office.sign("carl", data))
    assert (one.returncode, "1 more needed" in one.stdout) == (0, True)
    assert serial(service) == 1
    two = office.run("approve", "demo", "2", "--signature", office.sign("ben", data))
    assert (two.returncode, "serial 2 is in force" in two.stdout) == (0, True)
    assert serial(service) == 2
    # One goes back at once; another confirms.
    data = office.statement("rollback")
    back = office.run("rollback", "demo", "1", "--signature", office.sign("anna", data))
    assert (back.returncode, serial(service)) == (0, 1)
    assert "  rollback to serial " in office.run("status").stdout
    again = office.run("rollback", "demo", "1", "--signature", office.sign("anna", data))
    assert (again.returncode, "counts already" in again.stderr) == (3, True)
    confirmed = office.run("rollback", "demo", "1", "--signature", office.sign("ben", office.statement("rollback")))
    assert "is confirmed" in confirmed.stdout
    details = [entry.detail for entry in audit.verify(service.folder / "state/audit.log")[0]]
    assert [one for one in details if "SHA256:" in one][-1].startswith("rollback: ben SHA256:")
    assert "name1.test" not in "".join(details)


def test_growth_is_approved_beforehand_by_two_until_an_hour_and_taken_back_by_one(
    office: Office, service: Service
) -> None:
    until = time.strftime("%Y-%m-%dT%H:00:00Z", time.gmtime(time.time() + 7200))
    terms = ("standing", "demo", "--growth-to", "5000", "--until", until)
    held(office, service)
    data = office.run(*terms, "--statement").stdout
    said = json.loads(data)
    assert (said["action"], said["list"], said["growth_to"], said["until"]) == ("standing", "demo", 5000, until)
    # A signature under other terms, or under another statement, does not count.
    wider = office.sign("carl", data.replace("5000", "9000"))
    for words, signature in ((terms, wider), (terms, office.sign("carl", office.statement("approve")))):
        refused = office.run(*words, "--signature", signature)
        assert (refused.returncode, "not of the statement" in refused.stderr) == (3, True)
    first = office.sign("anna", data)
    assert "1 more needed" in office.run(*terms, "--signature", first).stdout
    # A later serial is held too; the second signature lets it in, and those after it need none.
    held(office, service, 2100)
    assert f"growth to 5000 entries until {until}: signed by anna" in office.run("held", "demo").stdout
    done = office.run(*terms, "--signature", office.sign("ben", data))
    assert (done.returncode, serial(service)) == (0, 3), done.stderr
    assert "standing approval 1 is given; serial 3 is in force" in done.stdout
    service.authority.publish([f"name{n}.test" for n in range(4000)])
    assert "serial 4 is in force now" in office.run("fetch", "demo").stdout
    revoked = office.run("revoke", "demo", "1", "--signature", office.sign("carl", office.statement("revoke")))
    assert "standing approval 1 is taken back" in revoked.stdout, revoked.stderr
    again = office.run(*terms, "--signature", first)
    assert (again.returncode, "not of the statement" in again.stderr) == (3, True)
    held(office, service, 4900)
    assert serial(service) == 4


def test_both_signatures_in_one_call(office: Office, service: Service) -> None:
    held(office, service)
    data = office.statement("approve")
    words = ["--signature", office.sign("anna", data), "--signature", office.sign("ben", data)]
    done = office.run("approve", "demo", "2", *words)
    assert (done.returncode, serial(service)) == (0, 2)


def test_signatures_that_do_not_count(office: Office, service: Service) -> None:
    held(office, service)
    data = office.statement("approve")
    good = office.sign("anna", data)

    def refused(why: str, signature: str, number: str = "2") -> None:
        done = office.run("approve", "demo", number, "--signature", signature)
        assert done.returncode == 3, done.stdout
        assert why in done.stderr
        assert serial(service) == 1

    refused("not of the statement to sign now", office.sign("anna", data.replace("approve", "resume")))
    refused("not of the statement to sign now", office.sign("anna", data.strip()))
    refused("namespace", office.sign("anna", data, namespace="file"))
    refused("that is serial 2", good, "3")
    old = json.loads(data)
    expired = data.replace(old["expiry"], "2026-01-01T00:00:00Z")
    refused("not of the statement to sign now", office.sign("anna", expired))
    office.key("mallory", "ed25519")
    refused("no key of control.approvers", office.sign("mallory", data))
    for options, why in (
        ('valid-before="20200101"', "not valid now"),
        ('namespaces="file"', "namespace"),
        ('valid-after="20990101"', "not valid now"),
    ):
        office.allow(office.line("anna", options))
        refused(why, good)
    office.allow(office.line("anna,ben", key="anna"))
    refused("name one person", good)
    office.allow(office.line("*", key="anna"))
    refused("name one person", good)
    office.allow(office.line("anna"))
    office.signers.chmod(0o666)
    refused("can be written by others", good)
    office.signers.unlink()
    refused("No such file", good)
    office.key("second", "ed25519")
    office.allow(office.line("anna", 'namespaces="blocklist-resolver"'), office.line("anna", key="second"))
    assert office.run("approve", "demo", "2", "--signature", good).returncode == 0
    refused("counts already", good)
    refused("counts already", office.sign("anna", data))
    refused("with another key", office.sign("second", data))
    office.allow(office.line("zoe", key="anna"))
    refused("under another name", good)
    # What was signed for serial 2 says nothing of serial 3.
    office.allow(office.line("anna"), office.line("ben"))
    ben = office.sign("ben", data)
    held(office, service, 2500)
    refused("not of the statement to sign now", ben, "3")
    refused("that is serial 3", ben)


def test_killed_after_the_first_signature(office: Office, tmp_path: Path, upstream: Upstream) -> None:
    entries = [f"name{n}.test" for n in range(600)]
    with pytest.raises(AssertionError, match=f"ended with {-signal.SIGKILL}"):
        _killed_after_the_first_signature(office, tmp_path, upstream.address, entries)


def _killed_after_the_first_signature(office: Office, folder: Path, upstream: str, entries: list[str]) -> None:
    with serve(folder, upstreams=[upstream], entries=entries, every="1h") as service:
        service.until_serial(1)
        _killed(office, service)


def _killed(office: Office, service: Service) -> None:
    held(office, service)
    data = office.statement("approve")
    assert office.run("approve", "demo", "2", "--signature", office.sign("anna", data)).returncode == 0
    service.process.send_signal(signal.SIGKILL)
    service.process.wait()
    assert "signed by anna; 1 more" in office.run("held", "demo").stdout
    service.folder.joinpath("control").unlink()
    again = launch(service.folder, office.config, "compiled")
    try:
        service = replace(service, process=again)
        service.until_serial(1)
        assert office.run("approve", "demo", "2", "--signature", office.sign("ben", data)).returncode == 0
        assert serial(service) == 2
    finally:
        assert stop(again) == 0


def test_no_service_answers(office: Office, tmp_path: Path) -> None:
    office.config.write_text(f'[control]\nsocket = "{tmp_path}/control"\n')
    done = office.run("resume", "demo", "1", "--signature", office.sign("anna", "x\n"))
    assert done.returncode == 1
    assert HOST not in done.stderr
