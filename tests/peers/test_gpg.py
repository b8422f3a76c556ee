"""Lists that Debian's gpg has signed and encrypted, from the drop folder to in force; and all that must not pass."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import trustme

from resolver.feed.fetch.gpg import Gpg
from resolver.feed.messages import FetchRequest
from resolver.feed.processes import FETCH_MEMORY_BYTES, memory_file
from resolver.feed.reasons import Reason
from resolver.feed.sandbox import Failed
from tests import canaries
from tests.fakes.enforcer import Enforcer, all_bytes_below
from tests.fakes.https import Server
from tests.fakes.openpgp import Person, gpg
from tests.journeys import accounts
from tests.journeys.running import ROOT

SERVICE = ROOT / "deploy" / "systemd" / "blocklist-resolver.service"
Program = Callable[[str], str]


@pytest.fixture(scope="module")
def homes(program: Program) -> Iterator[Path]:
    """A folder with a short name: the agent's socket, which lies in a home, may have a path of 108 octets at most."""
    program("gpg")
    folder = Path(subprocess.check_output(["mktemp", "--directory", "/tmp/homes.XXXXXX"], text=True).strip())
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def us(homes: Path) -> Iterator[Person]:
    yield from _person(homes, "us")


@pytest.fixture(scope="module")
def authority(homes: Path, us: Person) -> Iterator[Person]:
    yield from _person(homes, "authority", us)


@pytest.fixture(scope="module")
def thief(homes: Path, us: Person) -> Iterator[Person]:
    yield from _person(homes, "thief", us)


@pytest.fixture
def successor(homes: Path, us: Person) -> Iterator[Person]:
    yield from _person(homes, canaries.label(size=6), us)


def _person(homes: Path, name: str, *others: Person) -> Iterator[Person]:
    person = Person(homes / name, name)
    person.knows(*others)
    person.ends()
    yield person
    person.ends()


class Drop:
    """A drop folder, and the files that come into it."""

    def __init__(self, folder: Path, authority: Person, us: Person) -> None:
        folder.mkdir()
        self.folder, self.authority, self.us = folder, authority, us
        self.pinned = folder.parent / "pinned.asc"
        self.pinned.write_bytes(authority.public)
        self.files = 0

    def put(self, data: bytes) -> None:
        self.files += 1
        path = self.folder / f"{self.files:04d}.gpg"
        path.write_bytes(data)
        os.utime(path, (self.files, self.files))

    def empty(self) -> None:
        for path in self.folder.iterdir():
            path.unlink()

    def publish(self, serial: int, *names: str, by: Person | None = None, issued: int = 0) -> bytes:
        text = listing(serial, *names, issued=issued)
        sealed = (by or self.authority).seals(text, self.us)
        self.put(sealed)
        return sealed

    @property
    def source(self) -> str:
        return (
            f'kind = "openpgp"\nurl = "{self.folder.as_uri()}"\n'
            f'root = "{self.pinned}"\nidentity = "{self.us.home}"'
        )


def listing(serial: int, *names: str, issued: int = 0) -> bytes:
    lines = [f"# serial={serial} issued={issued or int(time.time())}", *(names or (f"serial{serial}.test",))]
    return "\n".join(lines).encode() + b"\n"


@pytest.fixture
def drop(tmp_path: Path, authority: Person, us: Person) -> Drop:
    return Drop(tmp_path / "drop", authority, us)


@pytest.fixture
def enforcer(drop: Drop, tmp_path: Path) -> Enforcer:
    return begun(tmp_path / "state", drop.source)


def begun(folder: Path, source: str) -> Enforcer:
    enforcer = Enforcer(None, folder, source=source)
    enforcer.feed.recover()
    return enforcer


def lingering(home: Path) -> list[str]:
    """Arguments of the processes that name a home and do not end within a while: an agent needs a moment to end."""
    until = time.monotonic() + 20
    while (found := naming(home)) and time.monotonic() < until:
        time.sleep(0.05)  # The process ends by itself; nothing here can be waited for.
    return found


def naming(home: Path) -> list[str]:
    """Arguments of the processes that name a home."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        if str(home).encode() in words:
            found.append(words.decode(errors="replace"))
    return found


@pytest.mark.asyncio
async def test_a_list_comes_into_force_and_never_goes_back(drop: Drop, enforcer: Enforcer) -> None:
    first = drop.publish(1)
    await enforcer.list.poll()
    assert (enforcer.enforced, enforcer.blocks("serial1.test")) == (1, True)
    drop.publish(2)
    await enforcer.list.poll()
    assert (enforcer.enforced, enforcer.blocks("serial1.test"), enforcer.blocks("serial2.test")) == (2, False, True)
    drop.put(first)
    await enforcer.list.poll()
    assert (enforcer.enforced, enforcer.failures) == (2, {}), "an older list beside it is no step back"
    drop.empty()
    drop.put(first)
    await enforcer.list.poll()
    assert (enforcer.enforced, enforcer.failures) == (2, {"rolled_back": 1})
    assert lingering(drop.us.home) == []


@pytest.mark.asyncio
async def test_a_list_in_force_may_grow_old(drop: Drop, tmp_path: Path) -> None:
    """Short of waiting for it: the same state, and a bound that the list has passed meanwhile."""
    drop.publish(1, issued=int(time.time()) - 7200)
    for bound in ("3h", "1h"):
        enforcer = begun(tmp_path / "state", f'{drop.source}\ndated_within = "{bound}"')
        await enforcer.list.poll()
        assert (enforcer.enforced, enforcer.failures) == (1, {})
    drop.publish(2, issued=int(time.time()) - 7200)
    await enforcer.list.poll()
    assert (enforcer.enforced, enforcer.failures) == (1, {"too_old": 1})


@pytest.mark.asyncio
async def test_what_does_not_pass(drop: Drop, enforcer: Enforcer, thief: Person, us: Person, authority: Person) -> None:
    drop.publish(1)
    await enforcer.list.poll()
    text = listing(2)
    sealed = authority.seals(text, us)
    cases = [
        ("signed by nobody pinned", thief.seals(text, us), "not_signed"),
        ("encrypted, not signed", authority.encrypts(text, us), "not_signed"),
        ("signed, not encrypted", authority.signs(text), "not_encrypted"),
        ("signed around the encryption", authority.signs(thief.encrypts(text, us)), "not_encrypted"),
        ("encrypted, with a signed file inside", thief.encrypts(authority.signs(text), us), "not_signed"),
        ("half a file", sealed[: len(sealed) // 2], "malformed"),
        ("all but its end", sealed[:-30], "malformed"),
        ("a changed byte", sealed[:-100] + bytes([sealed[-100] ^ 1]) + sealed[-99:], "tampered"),
        ("two files in one", sealed + sealed, "tampered"),
        ("an HTML page", b"<!doctype html><title>502</title>", "malformed"),
        ("nothing", b"", "malformed"),
        ("for somebody else", authority.seals(text, authority), "identity_unusable"),
        ("a weak hash", authority.seals(text, us, "--digest-algo", "SHA1"), "not_signed"),
        ("no serial", authority.seals(b"serial2.test\n", us), "malformed"),
        ("an old date", authority.seals(listing(2, issued=int(time.time()) - 49 * 3600), us), "too_old"),
        ("a date to come", authority.seals(listing(2, issued=int(time.time()) + 3600), us), "clock_behind"),
        ("the same serial", authority.seals(listing(1, "other.test"), us), "serial_reused"),
    ]
    for what, data, reason in cases:
        before = dict(enforcer.failures)
        drop.empty()
        drop.put(data)
        await enforcer.list.poll()
        told = {key for key, count in enforcer.failures.items() if count != before.get(key, 0)}
        assert (what, told, enforcer.enforced) == (what, {reason}, 1)
    assert enforcer.blocks("serial1.test")
    drop.put(sealed)
    await enforcer.list.poll()
    assert enforcer.enforced == 2


@pytest.mark.asyncio
async def test_strangers_in_the_drop_folder_do_not_blind_the_feed(
    drop: Drop, enforcer: Enforcer, thief: Person, us: Person, authority: Person, caplog: pytest.LogCaptureFixture
) -> None:
    """The attachments of a certified e-mail, checksums, other people's messages, half a file, a list as rsync -t
    leaves it."""
    drop.publish(6)
    sealed = authority.seals(listing(7), us)
    for name, data in (
        ("daticert.xml", b"<?xml version='1.0'?><postacert/>"),
        ("smime.p7s", b"\x30\x82\x0b\x0a"),
        ("list.gpg.sha256", b"0" * 64),
        ("list.asc", authority.signs(b"list", "--armor", "--detach-sign")),
        ("key.asc", authority.public),
        ("other.gpg", thief.seals(listing(9), us)),
        ("not-ours.gpg", authority.seals(listing(9), authority)),
        ("half.gpg", sealed[: len(sealed) // 2]),
    ):
        (drop.folder / name).write_bytes(data)
    await enforcer.list.poll()
    assert (enforcer.enforced, enforcer.failures) == (6, {})
    counts = "8 (5 no OpenPGP message, 3 not verified, 0 too many or too large)"
    said = f"files passed over in {drop.folder}: {counts}"
    assert f"list demo: {said}" in caplog.messages
    assert enforcer.list.shown.passed_over == said
    (drop.folder / "half.gpg").write_bytes(sealed)
    os.utime(drop.folder / "half.gpg", (1, 1))
    await enforcer.list.poll()
    assert (enforcer.enforced, enforcer.failures) == (7, {})
    caplog.clear()
    await enforcer.list.poll()
    assert ": 5 (5 no" in enforcer.list.shown.passed_over, "messages that came before the known list are done"
    assert not caplog.messages, "said once"


@pytest.mark.asyncio
async def test_a_key_that_was_stolen_is_replaced(
    drop: Drop, enforcer: Enforcer, successor: Person
) -> None:
    drop.publish(10**9)
    await enforcer.list.poll()
    assert enforcer.enforced == 10**9
    drop.pinned.write_bytes(successor.public)
    drop.publish(10**9 + 1)
    await enforcer.list.poll()
    assert (enforcer.enforced, enforcer.failures) == (10**9, {"not_signed": 1})
    drop.publish(3, by=successor)
    await enforcer.list.poll()
    assert (enforcer.enforced, enforcer.failures) == (3, {"not_signed": 1})
    assert b"floor_reset" in (enforcer.folder / "audit.log").read_bytes()


@pytest.mark.asyncio
async def test_a_subkey_signs_for_its_primary(drop: Drop, enforcer: Enforcer, successor: Person) -> None:
    person = successor
    primary = gpg(person.home, "--with-colons", "--list-keys", person.mail).split(b"fpr:::::::::")[1].split(b":")[0]
    gpg(person.home, "--passphrase", "", "--quick-add-key", primary.decode(), "ed25519", "sign", "never")
    drop.pinned.write_bytes(gpg(person.home, "--export", person.mail))
    drop.publish(1, by=person)
    await enforcer.list.poll()
    assert (enforcer.enforced, enforcer.failures) == (1, {})


@pytest.mark.asyncio
async def test_over_https_with_a_client_certificate(
    drop: Drop, tmp_path: Path, us: Person, authority: Person
) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    pem = tmp_path / "client.pem"
    ca.issue_cert("isp.test").private_key_and_cert_chain_pem.write_to_path(str(pem))
    rows = f"1;{int(time.time())}\nhttp://csv.test/;csv.test;192.0.2.1;192.0.2.1\nhttp://csv.test/x;csv.test;;\n"
    (drop.folder / "list.csv.gpg").write_bytes(authority.seals(rows.encode(), us))
    with Server(drop.folder, ca, clients=True, name="127.0.0.1") as server:
        source = drop.source.replace(drop.folder.as_uri(), f"{server.url}/list.csv.gpg") + '\nformat = "csv"'
        trusted = f'\nca = "{tmp_path / "ca.pem"}"'
        without = begun(tmp_path / "without", source + trusted)
        await without.list.poll()
        assert (without.enforced, without.failures) == ("no list", {"unreachable": 1})
        shown = f'\ncertificate = "{pem}"\nkey = "{pem}"'
        enforcer = begun(tmp_path / "state", source + trusted + shown)
        await enforcer.list.poll()
        assert (enforcer.enforced, enforcer.failures, enforcer.blocks("csv.test")) == ("no list", {}, False)
        held = enforcer.list.state.held
        assert held is not None
        assert (held.record.refused_lines, held.reasons) == ({"url": (3,)}, ("refused_share",))


@pytest.mark.asyncio
async def test_a_zones_master_file(drop: Drop, tmp_path: Path, us: Person, authority: Person) -> None:
    """Its serial stands twice: in the comment of its first line, and in its SOA."""
    enforcer = begun(tmp_path / "state", drop.source + '\nformat = "rpz"')

    def put(serial: int, of_soa: int) -> None:
        head = f"; serial={serial} issued={int(time.time())}\n"
        soa = f"$TTL 60\n@ SOA ns.example. mail.example. {of_soa} 3600 600 86400 60\n"
        names = "bad.test CNAME .\n*.bad.test CNAME .\nfine.bad.test CNAME rpz-passthru.\n"
        drop.put(authority.seals((head + soa + names).encode(), us))

    put(7, 7)
    await enforcer.list.poll()
    assert (enforcer.enforced, enforcer.failures) == (7, {})
    assert [enforcer.blocks(name) for name in ("bad.test", "x.bad.test", "fine.bad.test")] == [True, True, False]
    put(8, 9)
    await enforcer.list.poll()
    assert (enforcer.enforced, enforcer.failures) == (7, {"malformed": 1})


@pytest.mark.asyncio
async def test_a_withdrawal_is_held(drop: Drop, enforcer: Enforcer, authority: Person, us: Person) -> None:
    drop.publish(1)
    await enforcer.list.poll()
    drop.put(authority.seals(f"# serial=2 issued={int(time.time())} withdrawn\n".encode(), us))
    await enforcer.list.poll()
    held = enforcer.list.state.held
    assert enforcer.enforced == 1
    assert held is not None
    assert held.reasons == ("withdrawn",)


def test_a_bomb_ends_at_the_bound(us: Person, authority: Person) -> None:
    bomb = authority.seals(b"a" * 50_000_000, us)
    assert len(bomb) < 200_000
    opener = Gpg(str(us.home), 1_000_000, lambda: 20.0)
    with pytest.raises(Failed) as error:
        opener.opened(bomb, opener.pinned(authority.public))
    assert error.value.reason == Reason.OVERSIZED
    assert lingering(us.home) == []


def test_an_identity_that_needs_a_passphrase_is_told(homes: Path, authority: Person) -> None:
    name = canaries.label(size=6)
    person = Person(homes / name, name, passphrase="secret")
    person.ends()
    authority.knows(person)
    opener = Gpg(str(person.home), 1000, lambda: 20.0)
    with pytest.raises(Failed) as error:
        opener.opened(authority.seals(listing(1), person), opener.pinned(authority.public))
    assert error.value.reason == Reason.IDENTITY_UNUSABLE


@pytest.mark.asyncio
async def test_no_name_is_anywhere_but_in_memory(
    drop: Drop, enforcer: Enforcer, tmp_path: Path, us: Person
) -> None:
    """Arguments and environment of every process while the list is loaded, and every file after it."""
    label = canaries.label().encode()
    seen: set[bytes] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            for kind in ("cmdline", "environ"):
                for path in Path("/proc").glob(f"[0-9]*/{kind}"):
                    try:
                        seen.add(path.read_bytes())
                    except OSError:
                        continue

    drop.publish(1, f"{label.decode()}.test")
    watcher = threading.Thread(target=watch)
    watcher.start()
    await enforcer.list.poll()
    over.set()
    watcher.join()
    assert enforcer.blocks(f"{label.decode()}.test")
    assert any(b"--decrypt" in one for one in seen)
    assert not any(label in one.lower() for one in seen)
    for folder in (tmp_path / "state", us.home, Path("/dev/shm"), Path("/var/tmp")):
        assert label not in all_bytes_below(folder).lower()
    assert not any(label in data for data in _recent(Path("/tmp")))


def _recent(folder: Path) -> Iterator[bytes]:
    for path in folder.iterdir():
        if path.is_file() and path.stat().st_mtime > time.time() - 60:
            yield path.read_bytes()


def test_it_works_under_what_the_unit_asks_of_the_kernel(program: Program, us: Person, authority: Person) -> None:
    """Filter of system calls, no memory both writable and executable, an account without rights, bounded memory."""
    program("systemd-analyze")
    if subprocess.run(["/usr/bin/python3", "-c", "import seccomp"], capture_output=True, check=False).returncode != 0:
        program("python3-seccomp")  # no program, and so a skip or a failure that names the package
    text = listing(1)
    output = memory_file("list")
    with accounts.open_folder() as folder:
        shutil.copytree(us.home, folder / "home", ignore=shutil.ignore_patterns("S.*"))
        (folder / "pinned.asc").write_bytes(authority.public)
        (folder / "list.gpg").write_bytes(authority.seals(text, us))
        for path in (folder, *folder.rglob("*")):
            os.chown(path, accounts.NOBODY.pw_uid, accounts.NOBODY.pw_gid)
        request = FetchRequest(
            parent=os.getpid(), output=output, list_id="demo", url=(folder / "list.gpg").as_uri(),
            root=str(folder / "pinned.asc"), identity=str(folder / "home"), target="", metadata="", ca="",
            certificate="", key="", max_bytes=64 * 2**20, memory_bytes=FETCH_MEMORY_BYTES, seconds=60.0,
            dated_within=3600.0,
        )  # fmt: skip
        sandbox = ("/usr/bin/python3", Path(__file__).with_name("sandbox.py"), SERVICE, sys.executable)
        ended = subprocess.run(
            [*map(str, sandbox), "-c", "from resolver.feed import sandbox; "
             "from resolver.feed.fetch import child, openpgp as it; sandbox.run(lambda: child.work(it.fetch))"],
            input=msgspec.json.encode(request) + b"\ngo\n", capture_output=True, pass_fds=(output,), cwd=ROOT,
            check=False,
        )  # fmt: skip
        assert ended.stdout.splitlines()[-1] == b'{"done": true}', ended.stdout + ended.stderr
        assert os.pread(output, 1000, 0) == text
        assert lingering(folder / "home") == []
    os.close(output)
