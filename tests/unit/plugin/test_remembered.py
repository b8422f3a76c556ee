"""What of a cache can be taken out when a policy comes, and in which slices."""

from resolver.plugin.remembered import Answer, Remembered


class Clock:
    """Time that goes by one second at each look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def test_what_is_blocked_now_is_found_once_and_the_rest_stays() -> None:
    blocked = {(b"\x01a\x00", b""), (b"\x01b\x00", b"leads there")}
    one = Remembered(lambda name, qtype, reply: (name, reply) in blocked)
    for name, qtype, reply in ((b"\x01a\x00", 1, b""), (b"\x01b\x00", 28, b"leads there"), (b"\x01c\x00", 1, b"")):
        one.keep(name, qtype, reply)
    assert one.take(99.0, Clock()) == []
    one.judge_again()
    assert one.pending == 3
    assert set(one.take(99.0, Clock())) == {Answer(b"\x01a\x00", 1), Answer(b"\x01b\x00", 28)}
    assert (one.pending, len(one)) == (0, 1)
    one.judge_again()
    assert one.take(99.0, Clock()) == []


def test_a_slice_ends_with_its_time_and_the_next_goes_on() -> None:
    one = Remembered(lambda name, qtype, reply: True)
    for number in range(10):
        one.keep(bytes([1, number, 0]), 1, b"")
    one.judge_again()
    assert len(one.take(3.0, Clock())) == 3
    assert one.pending == 7
    assert len(one.take(99.0, Clock())) == 7


def test_the_oldest_is_forgotten_and_what_is_kept_again_is_new() -> None:
    one = Remembered(lambda name, qtype, reply: True, most=2)
    for name in (b"\x01a\x00", b"\x01b\x00", b"\x01a\x00", b"\x01c\x00"):
        one.keep(name, 1, b"")
    one.judge_again()
    assert {found.name for found in one.take(99.0, Clock())} == {b"\x01a\x00", b"\x01c\x00"}
