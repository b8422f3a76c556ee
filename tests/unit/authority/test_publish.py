"""What an authority publishes, seen by a resolver that pins its root."""

import os
import shutil
import time
from pathlib import Path

import pyrage
import pytest
from msgspec.structs import replace

from resolver import atomic_file
from resolver.authority import publish
from resolver.authority.publish import Issue, Seen
from resolver.authority.repository import AuthorityError, Refused, Repository
from resolver.feed import processes
from resolver.feed.fetch import tuf as source_tuf
from resolver.feed.messages import Facts, FetchRequest
from resolver.feed.sandbox import Failed

NOW = float(int(time.time()))
DATA = b"a.test\n=b.test\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    publish.init(tmp_path / "authority", threshold=1, keys=1, now=NOW)
    shutil.copy(tmp_path / "authority/root.json", tmp_path / "pinned.json")
    return tmp_path / "authority"


def issue(serial: int = 1, data: bytes = DATA, **changes: object) -> Issue:
    return Issue(list_id="demo", data=data, serial=serial, **changes)  # type: ignore[arg-type]  # the fields of Issue


def fetched(folder: Path, target: str = "demo", identity: str = "") -> tuple[Facts, bytes]:
    """What a resolver gets that has followed this authority from its first root on."""
    output = processes.memory_file("list")
    asked = FetchRequest(
        list_id="demo",
        parent=os.getpid(),
        output=output,
        url=folder.as_uri(),
        root=str(folder.parent / "pinned.json"),
        target=target,
        identity=identity,
        metadata=str(folder.parent / "client"),
        ca="",
        certificate="",
        key="",
        max_bytes=10_000,
        memory_bytes=2**31,
        seconds=20.0,
    )
    told: list[Facts] = []
    try:
        source_tuf.fetch(asked, lambda facts: not told.append(facts))
        return told[0], os.pread(output, 10_000, 0)
    finally:
        os.close(output)


def test_a_published_list_arrives(folder: Path) -> None:
    done = publish.publish(folder, issue(expires_s=100, expect_entries=2), now=NOW)
    assert (done.published, done.entries) == (True, 2)
    facts, data = fetched(folder)
    assert data == DATA
    custom = facts.custom
    assert (custom.list, custom.serial, custom.issued, custom.expires) == ("demo", 1, NOW, NOW + 100)
    assert (custom.withdrawn, custom.entries) == (False, 2)
    assert facts.fresh_until == NOW + 48 * 3600


def test_an_expiry_and_a_number_that_were_not_typed_are_not_signed(folder: Path) -> None:
    publish.publish(folder, issue(), now=NOW)
    custom = fetched(folder)[0].custom
    assert (custom.expires, custom.entries) == (None, None)


def test_a_list_that_may_not_be_is_not_published(folder: Path) -> None:
    with pytest.raises(Refused, match="icann suffix"):
        publish.publish(folder, issue(data=b"a.test\nco.uk\n"), now=NOW)
    assert not list((folder / "targets").iterdir())


def test_refused_lines_that_were_counted_are_put_up_with(folder: Path) -> None:
    assert publish.publish(folder, issue(data=b"a.test\nco.uk\n", expect_refused=1), now=NOW).entries == 1


def test_a_production_list_is_published_too(folder: Path) -> None:
    assert publish.publish(folder, issue(data=b"a.co.uk\n"), now=NOW).published


def test_serials_go_up(folder: Path) -> None:
    publish.publish(folder, issue(5), now=NOW)
    with pytest.raises(Refused, match="serial 4 is below 5, which is published"):
        publish.publish(folder, issue(4), now=NOW)
    with pytest.raises(Refused, match="with other content"):
        publish.publish(folder, issue(5, b"c.test\n"), now=NOW)
    publish.publish(folder, issue(5, expires_s=9), now=NOW)
    publish.publish(folder, issue(6, b"c.test\n"), now=NOW)
    assert fetched(folder)[1] == b"c.test\n"


@pytest.mark.parametrize("serial", [0, -1, 2**63])
def test_a_serial_out_of_bounds(serial: int, folder: Path) -> None:
    with pytest.raises(AuthorityError, match="out of bounds"):
        publish.publish(folder, issue(serial), now=NOW)


def test_lists_nobody_needs_any_more_are_removed(folder: Path) -> None:
    for serial in range(1, 5):
        publish.publish(folder, issue(serial, f"n{serial}.test".encode()), now=NOW)
    kept = {path.read_bytes() for path in (folder / "targets").iterdir()}
    assert kept == {b"n3.test", b"n4.test"}


def test_a_withdrawal_holds_no_name(folder: Path) -> None:
    publish.publish(folder, issue(), now=NOW)
    publish.withdraw(folder, list_id="demo", serial=2, now=NOW)
    facts, data = fetched(folder)
    assert facts.custom.withdrawn
    assert data == b"# withdrawn, serial 2\n"
    with pytest.raises(Refused, match="no such list"):
        publish.withdraw(folder, list_id="other", serial=2, now=NOW)


def test_refresh_signs_snapshot_and_timestamp_alone(folder: Path) -> None:
    publish.publish(folder, issue(), now=NOW - 47 * 3600, seen=Seen(clock_was_ahead=True))
    before = Repository(folder).current_targets().to_bytes()
    publish.refresh(folder, now=NOW, seconds=3600)
    assert fetched(folder)[0].fresh_until == NOW + 3600
    assert Repository(folder).current_targets().to_bytes() == before
    publish.publish(folder, issue(2), now=NOW - 50 * 3600, seen=Seen(clock_was_ahead=True))
    with pytest.raises(Failed, match="frozen"):
        fetched(folder)


def test_refresh_needs_the_online_keys_alone(folder: Path) -> None:
    publish.publish(folder, issue(), now=NOW)
    for role in ("root", "targets"):
        (folder / f"keys/{role}-1.pem").unlink()
    publish.refresh(folder, now=NOW + 3600)
    assert fetched(folder)[0].fresh_until == NOW + 49 * 3600
    (folder / "keys/snapshot-1.pem").unlink()
    with pytest.raises(AuthorityError, match="no key of snapshot"):
        publish.refresh(folder, now=NOW + 3600)


@pytest.mark.parametrize("role", publish.ROLES)
def test_keys_are_replaced_and_a_resolver_follows(role: str, folder: Path) -> None:
    publish.publish(folder, issue(), now=NOW)
    before = fetched(folder)[0]
    assert publish.rotate(folder, role=role, now=NOW).published
    after, data = fetched(folder)
    assert data == DATA
    assert after.root_version == 2
    assert (after.targets_keys == before.targets_keys) is (role != "targets")
    publish.publish(folder, issue(2, b"c.test"), now=NOW)
    publish.refresh(folder, now=NOW)
    assert fetched(folder)[1] == b"c.test"
    assert (folder / "root.json").read_bytes() == (folder / "metadata/2.root.json").read_bytes()


def test_after_a_theft_no_list_is_signed_by_the_new_keys(folder: Path) -> None:
    publish.publish(folder, issue(2**63 - 1), now=NOW)
    for role in ("targets", "snapshot", "timestamp"):
        publish.rotate(folder, role=role, now=NOW, drop_lists=role == "targets")
    with pytest.raises(Failed, match="unknown_target"):
        fetched(folder)
    publish.publish(folder, issue(8), now=NOW)
    assert fetched(folder)[0].custom.serial == 8


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """Two of three people sign; each keeps their own keys."""
    publish.init(tmp_path / "authority", threshold=2, keys=3, now=NOW)
    for number in (1, 2, 3):
        (tmp_path / f"person{number}").mkdir()
        for role in ("root", "targets"):
            (tmp_path / f"authority/keys/{role}-{number}.pem").rename(tmp_path / f"person{number}/{role}.pem")
    shutil.copy(tmp_path / "authority/root.json", tmp_path / "pinned.json")
    return tmp_path / "authority"


def test_two_of_three_people_sign_before_anything_is_served(shared: Path) -> None:
    before = sorted((shared / "metadata").iterdir())
    assert publish.publish(shared, issue(), now=NOW).missing == 2
    person = {number: shared.parent / f"person{number}/targets.pem" for number in (1, 2, 3)}
    assert publish.sign(shared, key=person[3], now=NOW).missing == 1
    assert publish.sign(shared, key=person[3], now=NOW).missing == 1
    assert sorted((shared / "metadata").iterdir()) == before
    assert not list((shared / "targets").iterdir())
    assert publish.sign(shared, key=person[1], now=NOW).published
    assert fetched(shared)[1] == DATA
    assert not list((shared / "staged").iterdir())
    with pytest.raises(AuthorityError, match="nothing waits"):
        publish.sign(shared, key=person[2], now=NOW)


def test_one_list_waits_at_a_time_and_may_be_corrected(shared: Path) -> None:
    publish.publish(shared, issue(), now=NOW)
    with pytest.raises(Refused, match="another list waits"):
        publish.publish(shared, Issue(list_id="other", data=DATA, serial=1), now=NOW)
    publish.publish(shared, issue(data=b"c.test"), now=NOW)
    for number in (1, 2):
        done = publish.sign(shared, key=shared.parent / f"person{number}/targets.pem", now=NOW)
    assert done.published
    assert fetched(shared)[1] == b"c.test"


def test_what_waits_outlives_new_keys_of_another_role(shared: Path) -> None:
    publish.publish(shared, issue(), now=NOW)
    publish.rotate(shared, role="snapshot", now=NOW)
    for role in ("root", "targets"):
        for number in (1, 2):
            done = publish.sign(shared, key=shared.parent / f"person{number}/{role}.pem", now=NOW)
        assert done.published
    assert fetched(shared)[1] == DATA


def test_a_stranger_cannot_sign(shared: Path, tmp_path: Path) -> None:
    publish.publish(shared, issue(), now=NOW)
    with pytest.raises(Refused, match="not one of the keys of targets"):
        publish.sign(shared, key=tmp_path / "person1/root.pem", now=NOW)


def test_new_keys_wait_for_two_people_and_the_rest_goes_on(shared: Path) -> None:
    publish.publish(shared, issue(), now=NOW)
    for number in (1, 2):
        publish.sign(shared, key=shared.parent / f"person{number}/targets.pem", now=NOW)
    assert publish.rotate(shared, role="timestamp", now=NOW).missing == 2
    publish.refresh(shared, now=NOW)
    assert fetched(shared)[0].root_version == 1
    publish.sign(shared, key=shared.parent / "person1/root.pem", now=NOW)
    assert publish.sign(shared, key=shared.parent / "person2/root.pem", now=NOW).published
    assert fetched(shared)[0].root_version == 2


def test_new_targets_keys_stay_until_the_root_that_names_them_is_signed(shared: Path, tmp_path: Path) -> None:
    publish.publish(shared, issue(), now=NOW)
    for number in (1, 2):
        publish.sign(shared, key=tmp_path / f"person{number}/targets.pem", now=NOW)
    publish.rotate(shared, role="targets", now=NOW)
    publish.sign(shared, key=tmp_path / "person1/root.pem", now=NOW)
    for number in (1, 2):
        (shared / f"keys/targets-{number}.pem").rename(tmp_path / f"{number}.pem")
    with pytest.raises(AuthorityError, match="must stay in"):
        publish.sign(shared, key=tmp_path / "person2/root.pem", now=NOW)
    assert fetched(shared)[0].root_version == 1
    (tmp_path / "1.pem").rename(shared / "keys/targets-1.pem")
    assert publish.sign(shared, key=tmp_path / "person2/root.pem", now=NOW).published
    assert fetched(shared)[0].root_version == 2


def test_an_init_that_would_overwrite_or_never_be_signed(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="already"):
        publish.init(folder, threshold=1, keys=1, now=NOW)
    for threshold, keys in ((0, 1), (2, 1), (1, 11)):
        with pytest.raises(AuthorityError, match="threshold"):
            publish.init(tmp_path / "new", threshold=threshold, keys=keys, now=NOW)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("number", range(1, 6))
def test_a_publish_that_is_cut_short_is_seen_whole_or_not_at_all(
    number: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish.publish(folder, issue(), now=NOW)
    left = [number]
    real = atomic_file.write

    def failing(path: Path, data: bytes, mode: int) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise OSError(28, "No space left on device")
        real(path, data, mode)

    with monkeypatch.context() as patch:
        patch.setattr(atomic_file, "write", failing)
        with pytest.raises(OSError, match="No space"):
            publish.publish(folder, issue(2, b"c.test"), now=NOW)
    assert fetched(folder)[1] == DATA
    publish.publish(folder, issue(2, b"c.test"), now=NOW)
    assert fetched(folder)[1] == b"c.test"


class Isp:
    """A recipient: a name, a public key, an identity file."""

    def __init__(self, folder: Path, name: str) -> None:
        key = pyrage.x25519.Identity.generate()
        self.name, self.public, self.identity = name, str(key.to_public()), folder / f"{name}.txt"
        self.identity.touch(mode=0o600)
        self.identity.write_text(str(key))

    def fetched(self, folder: Path) -> tuple[Facts, bytes]:
        return fetched(folder, f"demo-{self.name}", str(self.identity))


@pytest.fixture
def isps(tmp_path: Path) -> tuple[Isp, Isp]:
    return Isp(tmp_path, "isp-a"), Isp(tmp_path, "isp-b")


def for_all(isps: tuple[Isp, ...]) -> dict[str, str]:
    return {isp.name: isp.public for isp in isps}


def test_every_recipient_gets_a_copy_that_only_they_can_read(folder: Path, isps: tuple[Isp, Isp]) -> None:
    publish.publish(folder, issue(recipients=for_all(isps), expires_s=100), now=NOW)
    served = {path.name.split(".")[1]: path.read_bytes() for path in (folder / "targets").iterdir()}
    assert served.keys() == {"demo-isp-a", "demo-isp-b"}
    assert not any(b"a.test" in data for data in served.values())
    both = [isp.fetched(folder) for isp in isps]
    assert [data for _, data in both] == [DATA, DATA]
    assert both[0][0] == replace(both[1][0], length=both[0][0].length)
    assert both[0][0].custom.plain == both[0][0].digest
    with pytest.raises(Failed, match="tampered"):
        fetched(folder, "demo-isp-a", str(isps[1].identity))


def test_nobody_loses_their_copy_by_being_forgotten(folder: Path, isps: tuple[Isp, Isp]) -> None:
    publish.publish(folder, issue(recipients=for_all(isps)), now=NOW)
    with pytest.raises(Refused, match="already published for isp-b: give each"):
        publish.publish(folder, issue(2, recipients=for_all(isps[:1])), now=NOW)
    with pytest.raises(Refused, match="isp-a, isp-b"):
        publish.publish(folder, issue(2), now=NOW)
    publish.publish(folder, issue(2, recipients=for_all(isps[:1]), drop=("isp-b",)), now=NOW)
    assert isps[0].fetched(folder)[0].custom.serial == 2
    with pytest.raises(Failed, match="unknown_target"):
        isps[1].fetched(folder)


def test_a_recipient_joins_under_the_same_serial(folder: Path, isps: tuple[Isp, Isp]) -> None:
    publish.publish(folder, issue(5, recipients=for_all(isps[:1])), now=NOW)
    with pytest.raises(Refused, match="other content"):
        publish.publish(folder, issue(5, b"c.test", recipients=for_all(isps)), now=NOW)
    with pytest.raises(Refused, match="serial 4 is below 5"):
        publish.publish(folder, issue(4, recipients=for_all(isps)), now=NOW)
    publish.publish(folder, issue(5, recipients=for_all(isps)), now=NOW)
    assert isps[1].fetched(folder)[1] == DATA


def test_a_list_in_clear_goes_when_it_is_published_for_recipients(folder: Path, isps: tuple[Isp, Isp]) -> None:
    publish.publish(folder, issue(), now=NOW)
    publish.publish(folder, issue(recipients=for_all(isps)), now=NOW)
    with pytest.raises(Failed, match="unknown_target"):
        fetched(folder)
    assert isps[0].fetched(folder)[1] == DATA


def test_a_withdrawal_reaches_every_recipient(folder: Path, isps: tuple[Isp, Isp]) -> None:
    publish.publish(folder, issue(recipients=for_all(isps)), now=NOW)
    publish.withdraw(folder, list_id="demo", serial=2, now=NOW)
    for isp in isps:
        assert isp.fetched(folder)[0].custom.withdrawn


def test_one_list_does_not_take_the_target_of_another(folder: Path, isps: tuple[Isp, Isp]) -> None:
    publish.publish(folder, Issue(list_id="demo-isp-a", data=DATA, serial=1), now=NOW)
    with pytest.raises(Refused, match="demo-isp-a: this target belongs to another list"):
        publish.publish(folder, issue(recipients=for_all(isps)), now=NOW)


def test_two_people_sign_one_set_of_copies(shared: Path, isps: tuple[Isp, Isp]) -> None:
    done = publish.publish(shared, issue(recipients=for_all(isps)), now=NOW)
    assert (done.published, len(list((shared / "staged").iterdir()))) == (False, 3)
    assert not any(b"a.test" in path.read_bytes() for path in (shared / "staged").iterdir())
    with pytest.raises(Refused, match="another list waits"):
        publish.publish(shared, Issue(list_id="demo-isp", data=DATA, serial=1), now=NOW)
    for number in (1, 2):
        done = publish.sign(shared, key=shared.parent / f"person{number}/targets.pem", now=NOW)
    assert done.published
    assert [isp.fetched(shared)[1] for isp in isps] == [DATA, DATA]
    assert not list((shared / "staged").iterdir())


def test_a_list_that_was_replaced_after_it_was_signed_is_not_served(shared: Path) -> None:
    publish.publish(shared, issue(), now=NOW)
    publish.sign(shared, key=shared.parent / "person1/targets.pem", now=NOW)
    (shared / "staged/list.demo").write_bytes(b"other.test\n")
    with pytest.raises(Refused, match="not the one that was signed"):
        publish.sign(shared, key=shared.parent / "person2/targets.pem", now=NOW)
    assert not list((shared / "targets").iterdir())
