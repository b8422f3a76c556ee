"""How a plugin follows the policy: at most one look a second, and the last whole one stays."""

from pathlib import Path

from resolver.plugin import folder as plugin_folder
from resolver.plugin.followed import LOOK_S, Followed
from tests.unit.plugin.parts import KEY, published


def test_it_looks_once_a_second_or_at_once(tmp_path: Path) -> None:
    said: list[str] = []
    one = Followed(published(tmp_path, ["bad.test"], number=1), KEY, said.append)
    assert one.look(0.0)
    published(tmp_path, ["bad.test"], number=2)
    assert not one.look(LOOK_S / 2)
    assert one.policy is not None
    assert one.policy.number == 1
    assert one.look(LOOK_S / 2, at_once=True)
    assert one.policy.number == 2
    assert not one.look(5.0), "nothing was published since"
    published(tmp_path, ["bad.test"], number=3)
    assert one.look(5.0 + LOOK_S)
    assert one.policy.number == 3
    assert said == []


def test_what_is_damaged_never_comes_in_force_and_is_said_once(tmp_path: Path) -> None:
    said: list[str] = []
    one = Followed(tmp_path, KEY, said.append)
    assert not one.look(0.0)
    assert one.policy is None
    assert "SERVFAIL" in said[0]
    published(tmp_path, ["bad.test"], number=1)
    assert one.look(1.0)
    published(tmp_path, ["other.test"], number=2)
    path = tmp_path / plugin_folder.POLICY
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert not one.look(2.0)
    assert not one.look(3.0)
    assert one.policy is not None
    assert one.policy.number == 1
    assert len(said) == 2
    assert "stays in force" in said[1]
    path.write_bytes(whole)
    assert one.look(4.0)
    assert one.policy.number == 2
