"""The actions that persons sign for."""

from resolver.feed.actions import NEEDED, OF_A_LIST, Action


def test_every_action_takes_signatures_and_all_but_a_release_are_decided_for_a_list() -> None:
    assert set(NEEDED) == set(Action)
    assert min(NEEDED.values()) == 1
    assert {*OF_A_LIST, Action.RELEASE, Action.STANDING} == set(Action)
    assert {Action.RELEASE, Action.STANDING}.isdisjoint(OF_A_LIST)
    assert (NEEDED[Action.STANDING], NEEDED[Action.REVOKE]) == (2, 1)


def test_the_words_of_each_command() -> None:
    assert [action.command("demo", 7) for action in OF_A_LIST] == [
        "approve demo 7",
        "approve demo 7 --set-aside",
        "resume demo 7",
        "rollback demo 7",
        "revoke demo 7",
    ]
