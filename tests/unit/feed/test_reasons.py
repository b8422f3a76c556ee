"""The labels of failed updates and of lines, and where the cause of a failure lies."""

import pytest

from resolver.feed import guard
from resolver.feed.names import read
from resolver.feed.reasons import Reason, Refusal, SetAside, Whose


def test_labels_of_metrics_are_words() -> None:
    for label in [*Reason, *Refusal, *SetAside, *guard.Hold]:
        assert label.replace("_", "").isalnum()


@pytest.mark.parametrize("data", [b"\xff\n", b"", b"a.test\nb.test\n"])
def test_a_list_that_is_refused_whole_has_the_reason_of_an_update(data: bytes) -> None:
    with pytest.raises(read.ReadError) as caught:
        read.read(data, read.suffixes(), demonstration=True, max_entries=1)
    assert Reason(caught.value.reason).whose is Whose.LIST


def test_each_cause_lies_with_the_authority_the_host_or_the_list() -> None:
    found = {whose: {reason.value for reason in Reason if reason.whose is whose} for whose in Whose}
    assert found[Whose.AUTHORITY] == {"tampered", "rolled_back", "mixed", "too_few_signatures", "serial_reused"}
    assert found[Whose.HOST] == {
        "unreachable",
        "unreadable",
        "timed_out",
        "out_of_memory",
        "state_not_written",
        "state_unreadable",
        "process",
        "internal",
    }
    assert found[Whose.LIST] == set(Reason) - found[Whose.AUTHORITY] - found[Whose.HOST]


def test_a_reason_is_its_label_and_is_found_by_it() -> None:
    assert Reason("tampered") is Reason.TAMPERED
    assert f"{Reason.TAMPERED}" == Reason.TAMPERED.value == "tampered"
    with pytest.raises(ValueError, match="no_such"):
        Reason("no_such")
