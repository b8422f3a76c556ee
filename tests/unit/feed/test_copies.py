"""Copies of zones on the disk: which source each is of, and which ones go."""

from pathlib import Path

from resolver.feed import copies

URL = "dns://192.0.2.1/rpz.example"
OTHER = "dns://192.0.2.1/other.example"


def put(folder: Path, **files: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / f"{name}.copy").write_bytes(data)


def left(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.copy"))


def test_a_copy_says_of_which_source_it_is() -> None:
    head = copies.head_of(URL)
    assert (head[:8], len(head)) == (copies.MAGIC, copies.HEAD_OCTETS)
    assert copies.is_of(head + b"sealed", URL)
    assert not copies.is_of(head, OTHER)
    assert not copies.is_of(head[:-1], URL)
    assert not copies.is_of(b"", URL)


def test_copies_of_another_source_and_what_is_no_copy_go(tmp_path: Path) -> None:
    put(tmp_path, ours=copies.head_of(URL) + b"sealed", other=copies.head_of(OTHER), empty=b"")
    (tmp_path / "folder.copy").symlink_to(tmp_path / "nowhere")
    copies.forget_sources(tmp_path, URL)
    assert left(tmp_path) == ["ours.copy"]


def test_copies_of_lists_that_are_not_configured_go(tmp_path: Path) -> None:
    for name in ("kept", "gone"):
        put(tmp_path / name, one=copies.head_of(URL))
    copies.forget_lists(tmp_path, {"kept", "new"})
    assert left(tmp_path) == ["kept/one.copy"]
