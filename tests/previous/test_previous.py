"""Going from one release to the next and back: 0.1's files are read and enforced, and what we write 0.1 reads.

`0.1/` is what that release left on a disk (see make.py); `reading.py` is how it reads.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from resolver.config import config
from resolver.core import codes
from resolver.feed import audit, state
from resolver.feed.messages import Facts
from resolver.feed.reasons import Reason
from resolver.feed.seal import load_keys
from resolver.feed.store import Store
from resolver.signed.metadata import Custom
from tests.journeys.processes import Site, asked
from tests.journeys.running import HOST, free_ports
from tests.previous import make, reading

OLD = Path(__file__).parent / "0.1"
LISTS = (make.DEMO, make.BACK, make.GONE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The state folder of 0.1, as private as it was there."""
    copied = shutil.copytree(OLD / "state", tmp_path / "state")
    for path in (copied, *copied.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return copied


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_code_writes_the_same_files(tmp_path: Path) -> None:
    """Where a format moves on purpose, this goes and what stands below it stays: it is what 0.1 needs."""
    make.write(tmp_path / "state")
    written = files(tmp_path / "state")
    # Beside its files, where 0.1 does not look.
    assert written.pop("audit.head")
    assert written == files(OLD / "state")


def test_the_configuration_is_read_with_every_value() -> None:
    read = config.load(OLD / "resolver.toml")
    demo, back, gone = read.lists
    assert (demo.source.target, demo.source.minimum_serial, demo.source.poll) == ("first", 5, 86400)
    assert (demo.guard.expect_entries, demo.guard.growth, demo.hard_limit) == ((1, 1000), 0.5, 365 * 86400)
    assert [str(one) for one in (*demo.clients, *demo.exempt)] == ["127.0.0.0/8", "127.9.0.0/16"]
    assert [one.answer for one in (demo, back, gone)] == ["page", "nxdomain", "nodata"]
    assert (read.cache.size, read.cache.stale, read.upstream.timeout) == (2**20, 1800, 1)
    assert (read.limits.connections, read.limits.connections_per_client) == (5000, 50)
    assert (read.state.without_list, read.control.group, read.page.help[0].phone) == ("forward", "", "+44 20 7946 0000")
    assert (read.count.batch, read.count.subscribers, read.count.publish_every) == (20, 2_000_000, 1800)


def test_keys_states_and_log_are_read(folder: Path) -> None:
    assert load_keys(folder) == make.KEYS
    for list_id, (found, floor) in make.states().items():
        store = Store(folder / "lists" / list_id)
        assert (store.read_state(), store.read_floor()) == (found, floor)
        assert state.at_start(found, floor) == found
    entries, _ = audit.verify(folder / "audit.log")
    assert [entry.event for entry in entries].count(audit.Event.IN_FORCE) == len(entries) - 1


def test_an_older_serial_than_its_floor_is_still_refused(folder: Path) -> None:
    store = Store(folder / "lists" / make.DEMO)
    found, floor = store.read_state(), store.read_floor()
    for serial, digest, reason in ((6, make.digest_of(6), Reason.ROLLED_BACK), (7, "0" * 64, Reason.SERIAL_REUSED)):
        custom = Custom(list=make.DEMO, serial=serial, issued=make.ISSUED + 7, expires=None, withdrawn=False)
        facts = Facts(
            digest=digest,
            length=1,
            custom=custom,
            targets_keys="a" * 64,
            root_version=1,
            fresh_until=make.EXPIRES,
            pinned="b" * 64,
        )
        now = make.ISSUED + 1000
        assert state.refusal(facts, found, floor, list_id=make.DEMO, minimum=0, now=now) is reason


@pytest.fixture
def site(folder: Path, tmp_path: Path) -> Site:
    """A host that ran 0.1 and has this release now; nobody else answers there."""
    text = (OLD / "resolver.toml").read_text()
    site = Site(tmp_path)
    upstream = free_ports(1)[0]
    for old, new in (
        ("127.0.0.1:5300", f"{HOST}:{site.dns}"),
        ("127.0.0.1:5301", f"{HOST}:{upstream}"),
        (', "[2001:db8::53]:53"', ""),
        ("127.0.0.1:8080", f"{HOST}:{site.ports[1]}"),
        ("127.0.0.1:9153", f"{HOST}:{site.ports[2]}"),
        ("/var/lib/blocklist-resolver", str(folder)),
        ("/run/blocklist-resolver", str(tmp_path)),
        ("https://authority.example/lists", "file:///nowhere"),
    ):
        assert old in text
        text = text.replace(old, new)
    text = "\n".join(line for line in text.splitlines() if line.split(" = ")[0] not in ("ca", "certificate", "key"))
    site.config.write_text(text)
    return site


def test_what_0_1_enforced_is_enforced_from_the_first_answer(site: Site) -> None:
    service = site.launch(write=False)
    try:
        service.until("/healthz")
        assert asked(site.dns, "blocked.test").startswith("192.0.2.2")
        assert asked(site.dns, "www.blocked.test").startswith("192.0.2.2")
        assert asked(site.dns, "exact.example").startswith("192.0.2.2")
        # Listed by the list that went back, not by the exception in the other.
        assert asked(site.dns, "fine.blocked.test").startswith("NXDOMAIN")
        for free in ("www.exact.example", "aside.test", "free.test"):
            assert asked(site.dns, free).startswith("SERVFAIL"), free
        shown = service.get("/metrics")[1]
        assert b'list_serial{list="demo"} 7' in shown
        assert b'list_serial{list="back"} 6' in shown
        assert b'list_held{list="demo"} 1' in shown
    finally:
        service.process.terminate()
        assert service.process.wait(20) == 0, service.said


# What this release writes is read by 0.1.


@pytest.fixture
def written(tmp_path: Path) -> Path:
    make.write(tmp_path / "new")
    return tmp_path / "new"


@pytest.mark.parametrize("list_id", LISTS)
def test_0_1_reads_the_images_and_finds_every_name(written: Path, list_id: str) -> None:
    images = sorted((written / "lists" / list_id).glob("*.image"))
    assert images
    for path in images:
        read = reading.image(path.read_bytes(), make.KEYS.digest, make.KEYS.seal)
        entries = make.ENTRIES[read.serial]
        assert (read.list_id, f"{read.generation}.image", read.entries) == (list_id, path.name, len(entries))
        assert (read.issued, read.expires) == (make.ISSUED + read.serial, make.EXPIRES)
        assert read.depths >= {len(_labels(name)) for name in entries}
        for name, bits in entries.items():
            assert reading.of(read, name, make.KEYS.digest) & ~(codes.NEW | codes.EXCEPTION_BELOW) == bits
        assert reading.of(read, b"\x04free\x04test\0", make.KEYS.digest) == 0


def _labels(name: bytes) -> list[bytes]:
    found = []
    while name[0]:
        found.append(name[1 : 1 + name[0]])
        name = name[1 + name[0] :]
    return found


def _is_record(told: dict[str, Any]) -> bool:
    return told.keys() == reading.RECORD_KEYS.keys() and all(
        isinstance(told[name], kind) for name, kind in reading.RECORD_KEYS.items()
    )


@pytest.mark.parametrize("list_id", LISTS)
def test_0_1_knows_every_key_of_the_states(written: Path, list_id: str) -> None:
    """It refuses keys that it does not know."""
    found = json.loads((written / "lists" / list_id / "state.json").read_text())
    floor = json.loads((written / "lists" / list_id / "floor.json").read_text())
    assert (found["format"], floor["format"]) == (1, 1)
    assert found.keys() <= reading.STATE_KEYS
    assert floor.keys() == reading.FLOOR_KEYS
    assert _is_record(floor["record"])
    assert all(_is_record(found[name]) for name in ("in_force", "previous") if found[name])
    if found["held"]:
        assert found["held"].keys() == reading.HELD_KEYS
        assert _is_record(found["held"]["record"])


def test_0_1_knows_every_key_of_the_log_and_every_event_of_what_it_does(written: Path) -> None:
    lines = [json.loads(line) for line in (written / "audit.log").read_text().splitlines()]
    assert lines
    assert all(line.keys() == reading.AUDIT_KEYS for line in lines)
    assert {line["event"] for line in lines} <= reading.EVENTS <= {str(event) for event in audit.Event}


def test_a_changed_image_is_not_read() -> None:
    data = bytearray((OLD / "state/lists/demo/3.image").read_bytes())
    data[200] ^= 1
    with pytest.raises(reading.Unreadable, match="seal"):
        reading.image(bytes(data), make.KEYS.digest, make.KEYS.seal)
