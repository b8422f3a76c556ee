"""What an operator has forgotten of the kept answers, and how much of the memory is used."""

import pytest

from tests.unit.query.parts import House, octets_of, query, reply_of, tables


def any_name(asked):
    return reply_of(asked, [f"{asked.question[0].name} 300 A 198.51.100.7"])


@pytest.mark.asyncio
@pytest.mark.parametrize(("subtree", "asked_again"), [(False, ["a.test"]), (True, ["a.test", "b.a.test"])])
async def test_what_is_forgotten_is_asked_again(subtree: bool, asked_again: list[str]) -> None:
    house = House(any_name, tables(1))
    names = ["a.test", "b.a.test", "c.test"]
    for name in names:
        await house.ask(query(name))
    pauses = []

    async def pause() -> None:
        pauses.append(len(pauses))

    assert house.cache.used_bytes() > 0
    assert await house.cache.flush(octets_of("a.test"), subtree=subtree, pause=pause) == len(asked_again)
    house.upstream.asked.clear()
    for name in names:
        await house.ask(query(name))
    assert [str(one.question[0].name).rstrip(".") for one in house.upstream.asked] == asked_again


@pytest.mark.asyncio
async def test_the_memory_is_searched_in_parts() -> None:
    house = House(any_name, tables(1), octets=2**22)
    for number in range(5000):
        await house.ask(query(f"n{number}.test"))
    pauses = []

    async def pause() -> None:
        pauses.append(len(pauses))

    assert await house.cache.flush(octets_of("n4999.test"), subtree=False, pause=pause) == 1
    assert pauses


@pytest.mark.asyncio
async def test_what_is_no_name_is_refused() -> None:
    house = House(any_name, tables(1))

    async def pause() -> None:
        raise AssertionError("nothing is searched")

    with pytest.raises(ValueError, match="not a name"):
        await house.cache.flush(b"\7cut", subtree=True, pause=pause)
