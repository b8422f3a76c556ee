"""What a record of a response policy zone says, and how that is written."""

import dns.name
import pytest

from resolver.core import codes, rpz
from resolver.core.name import Name, unfold


def name(text: str) -> Name:
    wire = bytes(12) + (dns.name.from_text(text).to_wire() or b"")
    found = Name()
    assert unfold(wire, 12, len(wire), found) == len(wire)
    return found


ORIGIN = name("rpz.example.")


@pytest.mark.parametrize(
    ("owner", "depth"),
    [
        ("rpz.example.", 0),
        ("a.rpz.example.", 1),
        ("a.b.RPZ.example.", 2),
        ("example.", -1),
        ("xrpz.example.", -1),
        ("rpz.example.test.", -1),
        (r"a\\003rpz.example.", -1),
        (".", -1),
    ],
)
def test_how_deep_an_owner_is(owner: str, depth: int) -> None:
    assert rpz.depth_below(name(owner), ORIGIN) == depth


@pytest.mark.parametrize(
    ("owner", "kind", "target", "said"),
    [
        ("", codes.TYPE_CNAME, ".", rpz.SKIP),
        ("a.", codes.TYPE_NS, ".", rpz.SKIP),
        ("a.", codes.TYPE_A, ".", rpz.BLOCK),
        ("a.", codes.TYPE_CNAME, ".", rpz.BLOCK),
        ("a.", codes.TYPE_CNAME, "rpz-passthru.", rpz.EXCEPTION),
        ("a.", codes.TYPE_CNAME, "a.", rpz.EXCEPTION),
        ("a.", codes.TYPE_CNAME, "rpz-tcp-only.", rpz.NO_ACTION),
        ("*.a.", codes.TYPE_CNAME, "*.a.", rpz.NO_ACTION),
        ("*.", codes.TYPE_CNAME, "*.", rpz.BLOCK),
        ("a.", codes.TYPE_DNAME, ".", rpz.NO_ACTION),
        ("x.rpz-ip.", codes.TYPE_DNAME, ".", rpz.NO_TRIGGER),
        ("rpz-ip.x.", codes.TYPE_A, ".", rpz.BLOCK),
    ],
)
def test_what_a_record_says(owner: str, kind: int, target: str, said: int) -> None:
    full = name(f"{owner}rpz.example.")
    depth = rpz.depth_below(full, ORIGIN)
    assert rpz.said_by(full, ORIGIN, depth, kind, name(target)) == said


@pytest.mark.parametrize(
    ("owner", "action", "line"),
    [
        ("a.b.", rpz.BLOCK, b"=a.b"),
        ("*.b.", rpz.BLOCK, b"*.b"),
        ("*.", rpz.BLOCK, b"*.."),
        ("a.b.", rpz.EXCEPTION, b"!=a.b"),
        ("*.b.", rpz.EXCEPTION, b"!*.b"),
        ("a.", rpz.NO_TRIGGER, b"?trigger"),
        ("a.", rpz.NO_ACTION, b"?action"),
        ("a.", rpz.SKIP, b""),
        (r"a\032\@.", rpz.BLOCK, rb"=a\\"),
    ],
)
def test_how_it_is_written(owner: str, action: int, line: bytes) -> None:
    full, into = name(f"{owner}rpz.example."), memoryview(bytearray(300))
    end = rpz.written_as(full, rpz.depth_below(full, ORIGIN), action, into, 7)
    assert bytes(into[7:end]) == line
