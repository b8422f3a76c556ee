"""Who gets a copy of a list: as typed, as kept in a file."""

from pathlib import Path

import pyrage
import pytest

from resolver.authority import recipients
from resolver.authority.repository import AuthorityError

KEY = str(pyrage.x25519.Identity.generate().to_public())
OTHER = str(pyrage.x25519.Identity.generate().to_public())


def test_recipients_are_typed_or_read(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"# of the ISP\n{KEY}\n")
    (tmp_path / "all").write_text(f"# both\n\nisp-c  {OTHER}\n")
    found = recipients.typed([f"isp-a={KEY}", f"isp-b=@{tmp_path}/key"], tmp_path / "all")
    assert found == {"isp-a": KEY, "isp-b": KEY, "isp-c": OTHER}
    assert recipients.typed([], None) == {}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["isp"], "isp: not an age public key"),
        (["isp=age1"], "isp: not an age public key"),
        ([f"isp={KEY[:-1]}"], "not an age"),
        (["isp=AGE-SECRET-KEY-1"], "not an age"),
        ([f"ISP={KEY}"], "NAME=KEY"),
        ([f"={KEY}"], "NAME=KEY"),
        ([f"{'a' * 49}={KEY}"], "NAME=KEY"),
        ([f"isp={KEY}", f"isp={OTHER}"], "isp: named twice"),
        (["isp=@/nowhere/key"], "No such file"),
        (["isp=@{}/two"], "not an age"),
        (["isp=@{}/octets"], "not ASCII"),
    ],
)
def test_a_recipient_that_is_none(words: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "two").write_text(f"{KEY}\n{OTHER}\n")
    (tmp_path / "octets").write_bytes(b"\xff")
    with pytest.raises(AuthorityError, match=said) as error:
        recipients.typed([word.format(tmp_path) for word in words], None)
    assert "SECRET" not in str(error.value)


def test_too_many_recipients(tmp_path: Path) -> None:
    (tmp_path / "all").write_text("".join(f"isp-{number} {KEY}\n" for number in range(501)))
    with pytest.raises(AuthorityError, match="more than 500"):
        recipients.typed([], tmp_path / "all")


def test_a_target_has_a_bound() -> None:
    assert recipients.target_of("demo", "isp-a") == "demo-isp-a"
    with pytest.raises(AuthorityError, match="64 characters"):
        recipients.target_of("d" * 32, "i" * 32)
