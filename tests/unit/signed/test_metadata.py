"""The signed facts of a list."""

import pytest

from resolver.signed import metadata

GOOD = {"list": "demo", "serial": 1, "issued": 0, "expires": None, "withdrawn": False}
SEALED = {"encryption": "age", "plain": "0" * 64}


@pytest.mark.parametrize(
    "change", [{}, {"expires": 5}, {"entries": 9}, {"serial": 2**63 - 1}, {"more": "unknown"}, SEALED]
)
def test_facts_that_are_read(change: dict[str, object]) -> None:
    custom = metadata.custom_of({**GOOD, **change})
    assert metadata.to_json(custom) == {
        key: value for key, value in {**GOOD, **change}.items() if key != "more"
    }


@pytest.mark.parametrize(
    "change",
    [
        {"list": "A"},
        {"list": ""},
        {"list": "a" * 33},
        {"list": "demo\n"},
        {"serial": 0},
        {"serial": 2**63},
        {"serial": "1"},
        {"serial": 1.5},
        {"serial": True},
        {"issued": -1},
        {"expires": 1.5},
        {"withdrawn": 0},
        {"withdrawn": None},
        {"entries": -1},
        {**SEALED, "encryption": "rot13"},
        {**SEALED, "plain": "0" * 63},
        {**SEALED, "plain": "A" * 64},
    ],
)
def test_facts_out_of_bounds(change: dict[str, object]) -> None:
    with pytest.raises(metadata.CustomMalformed, match=r"^custom$"):
        metadata.custom_of({**GOOD, **change})


@pytest.mark.parametrize("missing", list(GOOD))
def test_every_fact_is_needed(missing: str) -> None:
    with pytest.raises(metadata.CustomMalformed):
        metadata.custom_of({key: value for key, value in GOOD.items() if key != missing})


@pytest.mark.parametrize("value", [None, [], "demo", 1])
def test_facts_of_another_kind(value: object) -> None:
    with pytest.raises(metadata.CustomMalformed):
        metadata.custom_of(value)


@pytest.mark.parametrize("alone", SEALED)
def test_encryption_and_digest_of_the_clear_text_belong_together(alone: str) -> None:
    with pytest.raises(metadata.CustomMalformed):
        metadata.custom_of({**GOOD, alone: SEALED[alone]})
