"""Releases: in force at once and over a restart, bounded, ended by their time, and never a name."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from resolver.core import codes, entries, policy
from resolver.core.name import Name, unfold
from resolver.feed import audit, release
from resolver.feed.release import Covered, NotReleased, Release, Releases
from resolver.feed.seal import Keys, SealBroken
from tests.fakes.enforcer import all_bytes_below, wire

KEYS = Keys(bytes(range(16)), bytes(range(32)))
NAME = wire("canary-7f3a.blocked.test")
COVERED = (Covered(list="demo", serial=412, digest="ab" * 32, line=1733),)
NOW = 1_700_000_000
REASON = "A school library, taken for another one"


class World:
    """A state folder, a clock, and what is enforced and reported."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = float(NOW)
        self.views: Sequence[memoryview] = ()
        self.reports: list[tuple[str, str, Mapping[str, Any]]] = []
        self.fails = False
        self.releases = self.started()

    def started(self, keys: Keys = KEYS) -> Releases:
        self.views = ()
        self.releases = Releases(
            self.folder / "releases",
            keys,
            audit.Audit(self.folder / "audit.log"),
            now=lambda: self.now,
            enforce=self.enforce,
            report=self.report,
            host="one.isp.example",
        )
        self.releases.recover()
        return self.releases

    def enforce(self, views: Sequence[memoryview]) -> None:
        self.views = views

    def report(self, *said: Any) -> None:
        if self.fails:
            raise OSError(28, "No space left on device")
        self.reports.append(said)

    def add(self, name: bytes = NAME, *, reason: str = REASON, for_s: float = release.DEFAULT_S) -> Release:
        return self.releases.add(name, COVERED, uid=1000, reason=reason, for_s=for_s)

    def released(self, name: bytes) -> bool:
        members = [policy.Member(view, None, slot=-1, release=True) for view in self.views]
        unfolded, verdict = Name(), policy.Verdict()
        assert unfold(name, 0, len(name), unfolded)
        assert policy.decide(policy.Generation(1, KEYS.digest, members), unfolded, 0xFFFF, verdict) == codes.PASS
        return bool(verdict.released)

    def events(self) -> list[str]:
        return [entry.event.value for entry in audit.verify(self.folder / "audit.log")[0]]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_release_is_in_force_at_once_and_over_a_restart(world: World) -> None:
    one = world.add()
    assert (one.number, one.until) == (1, NOW + 7 * 86400)
    for _ in range(2):
        assert world.released(NAME)
        assert world.released(wire("www.canary-7f3a.blocked.test"))
        assert not world.released(wire("blocked.test"))
        assert not world.released(wire("xcanary-7f3a.blocked.test"))
        world.started()
    assert world.add(wire("b.test")).number == 2
    assert world.released(NAME)
    assert world.released(wire("b.test"))


def test_nothing_on_the_disk_in_the_log_or_in_the_report_holds_the_name(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        world.add()
        world.now += 86400 * 6.5
        world.releases.look()
        world.now += 86400
        world.releases.look()
    written = all_bytes_below(world.folder)
    for said in (b"canary", NAME, NAME.hex().encode(), hashlib.sha256(NAME).hexdigest().encode()):
        assert said not in written
    assert "canary" not in caplog.text + str(world.reports)


def test_what_the_authority_and_the_audit_are_told(world: World) -> None:
    world.add()
    ((name, list_id, said),) = world.reports
    assert (name, list_id) == ("release-1-demo", "demo")
    assert said == {
        "kind": "release",
        "host": "one.isp.example",
        "release": 1,
        "list": "demo",
        "serial": 412,
        "digest": "ab" * 32,
        "line": 1733,
        "reason": REASON,
        "at": NOW,
        "until": NOW + 7 * 86400,
    }
    (entry,) = audit.verify(world.folder / "audit.log")[0]
    assert (entry.event, entry.list, entry.serial) == ("released_name", "demo", 412)
    assert entry.detail == f"release 1 line 1733: until {NOW + 7 * 86400}, by uid 1000"


def test_a_release_whose_report_cannot_be_written_is_in_force(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.fails = True
    world.add()
    assert world.released(NAME)
    assert "release 1: the report to its authority could not be written" in caplog.text


def test_it_ends_by_itself_with_a_warning_a_day_before(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.add()
    world.releases.confirm(1, "officer", "SHA256:x")
    world.now = NOW + 6 * 86400 - 1
    world.releases.look()
    assert caplog.text == ""
    world.now += 1
    for _ in range(3):
        world.releases.look()
    assert caplog.text.count("release 1 ends within a day") == 1
    world.now = NOW + 7 * 86400 - 1
    world.releases.look()
    assert world.released(NAME)
    world.now += 1
    world.releases.look()
    assert not world.released(NAME)
    assert list((world.folder / "releases").glob("*.image")) == []
    assert world.events() == ["released_name", "release_confirmed", "release_ended"]
    world.started()
    assert not world.released(NAME)
    assert world.add().number == 2, "a number is never given twice"


def test_one_that_ended_while_the_service_was_down_does_not_come_back(world: World) -> None:
    world.add()
    world.now = NOW + 8 * 86400
    world.started()
    assert not world.released(NAME)
    assert list(world.releases) == []


def test_without_a_signature_it_stays_and_is_alarmed_once_an_hour(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.add()
    world.now = NOW + 86400 - 1
    world.releases.look()
    assert caplog.text == ""
    for world.now in range(NOW + 86400, NOW + 86400 + 7200, 5):
        world.releases.look()
    assert caplog.text.count("is still unconfirmed after 24 h") == 2
    assert world.released(NAME)
    assert world.releases.of(1).overdue(world.now)
    world.releases.confirm(1, "officer", "SHA256:x")
    world.now += 7200
    world.releases.look()
    assert caplog.text.count("is still unconfirmed after 24 h") == 2
    world.started()
    assert (world.releases.of(1).signer, world.releases.of(1).key) == ("officer", "SHA256:x")


def test_what_a_signature_confirms_is_all_of_a_release_but_the_signature(world: World) -> None:
    one = world.add()
    assert world.releases.confirm(1, "officer", "SHA256:x").digest == one.digest
    assert world.add(wire("b.test")).digest != one.digest


def test_it_is_ended_by_hand(world: World) -> None:
    world.add()
    world.add(wire("b.test"))
    world.releases.end(1, "by uid 0")
    assert not world.released(NAME)
    assert world.released(wire("b.test"))
    with pytest.raises(NotReleased, match="no release has this number"):
        world.releases.end(1, "by uid 0")
    with pytest.raises(NotReleased):
        world.releases.confirm(1, "officer", "SHA256:x")


@pytest.mark.parametrize("for_s", [0, 3599, 30 * 86400 + 1, float("nan"), float("inf"), -1])
def test_how_long_is_bounded(world: World, for_s: float) -> None:
    with pytest.raises(NotReleased, match="1h to 30d"):
        world.add(for_s=for_s)


def test_what_no_list_blocks_is_refused(world: World) -> None:
    with pytest.raises(NotReleased, match="not listed"):
        world.releases.add(NAME, (), uid=0, reason=REASON, for_s=3600)
    assert all_bytes_below(world.folder).count(b"image") == 0


@pytest.mark.parametrize(
    "reason",
    [
        "",
        "   ",
        "two\nlines",
        "x" * 201,
        "bell\a",
        "canary-7f3a.blocked.test is a school",
        "see www.example.org",
        "see https://else",
        "else[.]test is wrong",
        "else (dot) test is wrong",
        "else dot test is wrong",
        "else\uff0etest is wrong",
        "xn--else is wrong",
        "Canary-7F3A is a school",
        "the BLOCKED one",
        "blocked_test is a school",
        "it is blockedtest",
        "canary 7f3a is a school",
        "the \uff22\uff2c\uff2f\uff23\uff2b\uff25\uff24 one",
    ],
)
def test_a_reason_holds_no_name(world: World, reason: str) -> None:
    with pytest.raises(NotReleased, match="--reason") as refused:
        world.add(reason=reason)
    assert not reason.strip() or reason not in str(refused.value)
    assert list(world.releases) == []


def test_a_reason_is_held_against_a_name_as_people_write_it(world: World) -> None:
    with pytest.raises(NotReleased, match="repeats a part of the name"):
        world.add(wire("xn--bcher-kva.test"), reason="Bücher are no crime")


def test_a_sentence_is_a_reason(world: World) -> None:
    assert world.add(reason="Wrong address. The court named another one, case 4/2026: see the letter").number == 1


def test_there_is_a_bound(world: World) -> None:
    for number in range(release.MAX_RELEASES):
        world.add(wire(f"n{number}.test"))
    with pytest.raises(NotReleased, match="64 names are released"):
        world.add()
    assert world.released(wire("n63.test"))
    world.releases.end(5, "by uid 0")
    assert world.add().number == 65


@pytest.mark.parametrize("harm", ["swapped", "cut", "forged", "gone", "other key"])
def test_an_image_that_is_not_ours_releases_nothing(
    world: World, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    world.add()
    world.add(wire("b.test"))
    path, keys = world.folder / "releases" / "1.image", KEYS
    data = path.read_bytes()
    if harm == "swapped":
        path.write_bytes((world.folder / "releases" / "2.image").read_bytes())
    elif harm == "cut":
        path.write_bytes(data[:-1])
    elif harm == "forged":
        path.write_bytes(bytes(entries.write(wire("c.test"), b"\4\0", KEYS.digest, **HEADER)) + data[-32:])
    elif harm == "gone":
        path.unlink()
    else:
        keys = Keys(b"x" * 16, KEYS.seal)
    world.started(keys)
    assert len(world.views) == (0 if harm == "other key" else 1)
    assert "release 1: its image cannot be used, so its name is blocked; release the name again" in caplog.text


HEADER = {"list_id": "releases", "serial": 1, "issued": 1, "expires": 2, "generation": 1, "selftest": b"s" * 26}


def test_a_damaged_file_releases_nothing_and_is_kept_aside(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.add()
    (world.folder / "releases" / "releases.json").write_bytes(b"{")
    world.started()
    assert not world.released(NAME)
    assert "is damaged" in caplog.text
    assert (world.folder / "releases" / "releases.json.damaged").read_bytes() == b"{"
    assert world.add().number == 1


def test_a_disk_that_is_full_releases_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        world.add()
    assert not world.released(NAME)
    assert list(world.releases) == []


def test_each_release_has_a_sealed_image(world: World) -> None:
    world.add()
    world.add(wire("b.test"), for_s=3600)
    assert [one.number for one, sealed in world.releases.sealed() if len(sealed) > 32] == [1, 2]


def test_a_preview_applies_what_is_written_and_writes_nothing(world: World) -> None:
    world.add()
    ended = world.add(wire("other.test"), for_s=release.LEAST_S)
    world.now += release.LEAST_S
    before = all_bytes_below(world.folder)
    world.views = ()
    new = Releases(
        world.folder / "releases",
        KEYS,
        audit.Audit(world.folder / "audit.log", later=True),
        now=lambda: world.now,
        enforce=world.enforce,
        report=world.report,
    )
    new.preview()
    assert world.released(NAME)
    assert not world.released(wire("other.test"))
    assert ended.number in {one.number for one in new}
    assert all_bytes_below(world.folder) == before
    (world.folder / "releases" / "1.image").write_bytes(b"")
    with pytest.raises(SealBroken):
        new.preview()
