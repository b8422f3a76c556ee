"""The file that `setup` writes is the one of deploy/ with its comments, and the answers in their places."""

import tomllib

import pytest

from resolver.cli import setup_file
from resolver.config import explained

ANSWERS = {
    "listen.dns": ["192.0.2.53:53"],
    "page.addresses": ["192.0.2.1"],
    "page.operator": 'Example "Net" \\ Ltd',
    "page.help": [{"kind": "young", "text": "Helpline", "url": "https://help.example"}],
    "list.demonstration": True,
    "list.source.url": "file:///srv/authority",
    "list.guard.protected": ["isp.example"],
}


def test_each_answer_stands_in_its_table() -> None:
    found = tomllib.loads(setup_file.text(ANSWERS))
    assert found["listen"] == {"dns": ["192.0.2.53:53"]}
    assert found["page"]["operator"] == 'Example "Net" \\ Ltd'
    assert found["page"]["help"] == ANSWERS["page.help"]
    (one,) = found["list"]
    assert one["demonstration"] is True
    assert one["source"]["url"] == "file:///srv/authority"
    assert one["guard"] == {"protected": ["isp.example"]}


def test_every_comment_stays_and_so_does_each_other_option() -> None:
    before, after = explained.text().splitlines(), setup_file.text(ANSWERS).splitlines()
    assert len(before) == len(after)
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert len(changed) == len(ANSWERS)
    assert not any(old.startswith("# ") for old, _ in changed)


def test_what_is_the_default_stays_a_comment() -> None:
    same = {"metrics.listen": "127.0.0.1:9153", "upstream.servers": [], "count.region": "", "list.demonstration": False}
    assert setup_file.text(same) == explained.text()


def test_a_key_that_the_file_does_not_have_is_an_error() -> None:
    with pytest.raises(KeyError, match=r"listen\.canary"):
        setup_file.text({"listen.canary": 1})


def test_the_lines_that_set_something_are_shown_below_their_tables() -> None:
    shown = setup_file.set_lines(setup_file.text(ANSWERS)).splitlines()
    assert shown[:2] == ["[listen]", 'dns = ["192.0.2.53:53"]']
    assert not any(line.startswith("#") or line in ("", "[cache]") for line in shown)
    assert shown[-2:] == ["[list.guard]", 'protected = ["isp.example"]']
    assert setup_file.set_lines("[cache]\n#size = 1\n") == ""


@pytest.mark.parametrize(
    "value", [True, False, 3, "", "a\x7f\t\"'\n\u00e9", [], ["a", "b"], [{"a": "b", "c": ["d"]}], {}]
)
def test_a_value_is_read_back_as_it_was(value: object) -> None:
    said = setup_file.toml(value)
    assert "\n" not in said
    assert tomllib.loads(f"value = {said}")["value"] == value
