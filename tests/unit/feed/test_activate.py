"""Which saved image may be put in force, and what a self-test finds."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from resolver.core import codes, image
from resolver.feed import activate, seal
from resolver.feed.state import Record
from tests.unit.feed.names.test_compile import KEYS, made_of
from tests.unit.feed.test_state import record


@pytest.fixture
def saved(tmp_path: Path) -> Record:
    data = b"".join(b"name%d.test\n" % number for number in range(3000))
    made = made_of(data, max_entries=9999)[1]
    (tmp_path / "3.image").write_bytes(bytes(made) + seal.seal_of(made, KEYS.seal))
    return record(image="3.image", generation=3, entries=3000, digest_key=KEYS.digest_id)


def load(folder: Path, what: Record, *, list_id: str = "demo", demonstration: bool = True) -> memoryview:
    return activate.load(folder, what, KEYS, list_id=list_id, demonstration=demonstration)


def test_the_image_the_state_speaks_of_is_loaded(saved: Record, tmp_path: Path) -> None:
    view = load(tmp_path, saved)
    (tmp_path / "3.image").write_bytes(b"")
    assert image.header(view).entries == 3000


@pytest.mark.parametrize(
    "change",
    [
        {"serial": 8},
        {"issued": 1},
        {"expires": 5},
        {"generation": 4},
        {"entries": 2999},
        {"image": "4.image"},
    ],
)
def test_any_other_image_is_not(change: dict[str, object], saved: Record, tmp_path: Path) -> None:
    with pytest.raises(activate.ImageUnusable):
        load(tmp_path, replace(saved, **change))


def test_an_image_of_another_list_key_or_rule_is_not(saved: Record, tmp_path: Path) -> None:
    with pytest.raises(activate.ImageUnusable, match="header"):
        load(tmp_path, saved, list_id="other")
    with pytest.raises(activate.ImageUnusable, match="rules"):
        load(tmp_path, saved, demonstration=False)
    with pytest.raises(activate.ImageUnusable, match="digest key"):
        load(tmp_path, replace(saved, digest_key="other"))


@pytest.mark.parametrize("size", [0, 1, 32, 500, -33, -1])
def test_an_image_cut_short_is_not(size: int, saved: Record, tmp_path: Path) -> None:
    path = tmp_path / "3.image"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(activate.ImageUnusable):
        load(tmp_path, saved)


Verdict = Callable[[bytes, int], int]


def test_a_self_test_asks_every_type_and_a_thousand_names(saved: Record, tmp_path: Path) -> None:
    view, asked = load(tmp_path, saved), []

    def judge(view: memoryview) -> Verdict:
        def verdict(name: bytes, qtype: int) -> int:
            asked.append((name, qtype))
            return codes.BLOCK if name.endswith(image.SELFTEST_ZONE) else codes.PASS

        return verdict

    activate.self_test(view, judge, os.urandom)
    assert [qtype for _, qtype in asked[:4]] == [1, 28, 65, 16]
    assert asked[0][0][1:27] == image.header(view).selftest
    assert len({name for name, _ in asked[4:]}) == 1000


@pytest.mark.parametrize(
    ("verdict", "check"),
    [
        (lambda name, qtype: codes.PASS, "synthetic name"),
        (lambda name, qtype: codes.ASK, "synthetic name"),
        (lambda name, qtype: codes.BLOCK if qtype == 1 else codes.PASS, "synthetic name"),
        (lambda name, qtype: codes.BLOCK, "unlisted names"),
        (lambda name, qtype: codes.BLOCK if b"selftest" in name else codes.ASK, "unlisted names"),
    ],
)
def test_a_wrong_judgement_fails_it(verdict: Verdict, check: str, saved: Record, tmp_path: Path) -> None:
    with pytest.raises(activate.SelfTestFailed, match=f"^{check}$"):
        activate.self_test(load(tmp_path, saved), lambda view: verdict, bytes)


def test_an_image_that_does_not_find_its_own_digests_fails_it(
    saved: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image, "find", lambda *_: 0)
    good = lambda name, qtype: codes.BLOCK if b"selftest" in name else codes.PASS  # noqa: E731 - one line of two words
    with pytest.raises(activate.SelfTestFailed, match="digests"):
        activate.self_test(load(tmp_path, saved), lambda view: good, bytes)


def test_a_large_list_is_sampled_a_thousand_times(saved: Record, tmp_path: Path) -> None:
    assert len(image.digests(load(tmp_path, saved), activate.SAMPLED_SLOTS)) >= activate.SAMPLES


def test_an_image_is_read_into_memory_that_no_dump_holds(tmp_path: Path) -> None:
    """The kernel marks such memory `dd` (proc_pid_smaps(5))."""
    octets = bytes(range(256)) * 4096
    (tmp_path / "1.image").write_bytes(octets)
    view = activate.read(tmp_path / "1.image")
    (tmp_path / "1.image").write_bytes(b"other")
    assert bytes(view) == octets
    assert view.readonly
    maps = Path("/proc/self/smaps").read_text().split("VmFlags:")
    assert any(f"Size: {len(octets) // 1024} kB" in " ".join(one.split()) for one in maps)
    kept = [flags for flags in maps[1:] if " dd " in flags.splitlines()[0] + " "]
    assert kept


def test_an_empty_file_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "1.image").write_bytes(b"")
    assert bytes(activate.read(tmp_path / "1.image")) == b""
