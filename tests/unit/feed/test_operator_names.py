"""Names that the operator writes down: what can be protected, and a file of popular names."""

from pathlib import Path

import pytest

from resolver.feed.operator_names import ascii_name, can_be_protected, fault_of_popular, names_in, popular_names


@pytest.mark.parametrize("text", ["", " ", "."])
def test_no_name(text: str) -> None:
    with pytest.raises(ValueError, match="no name"):
        ascii_name(text)


@pytest.mark.parametrize(
    ("text", "can"),
    [("shop.test", True), ("Bücher.test.", True), ("com", True), ("a b.test", False), ("*.test", False), ("", False)]
    + [(one, False) for one in ("192.0.2.53", "2001:db8::53", "https://isp.test", "=isp.test", "a..test")],
)
def test_only_a_name_can_be_protected(text: str, can: bool) -> None:
    assert can_be_protected(text) is can


def test_the_first_line_without_a_name_is_reported() -> None:
    assert fault_of_popular("# top\n1,shop.test\nother.test\n") == ""
    assert fault_of_popular("shop.test\nü..test\nö..test\n") == "line 2 does not hold a domain name"


def test_names_are_read_from_ranks_and_comments() -> None:
    assert names_in("# rank,name\n1,shop.test\n\n other.test # why\n") == ["shop.test", "other.test"]
    assert (ascii_name("B\u00fccher.TEST."), ascii_name(" Shop.test ")) == (b"xn--bcher-kva.test", b"shop.test")


def test_a_file_of_popular_names_is_utf8_text(tmp_path: Path) -> None:
    path = tmp_path / "popular"
    with pytest.raises(FileNotFoundError):
        popular_names(path)
    path.write_bytes(b"shop.test\n")
    assert popular_names(path) == "shop.test\n"
    path.write_bytes(b"\xff\n")
    with pytest.raises(UnicodeDecodeError):
        popular_names(path)
    with pytest.raises(ValueError, match="not a file"):
        popular_names(tmp_path)
