from collections.abc import Sequence

MOST_IN_FLIGHT: int
QUERIES_A_SOCKET: int
SECONDS_A_SOCKET: int
SHARE: int
STRANGE: int

Figures = tuple[int, int, int, int, int, int, tuple[int, ...]]

class Relay:
    waiting: int
    def __init__(self, servers: Sequence[bytes], bounds_us: Sequence[int], epoll: int, first: int) -> None: ...
    def figures(self, server: int) -> Figures: ...
    def recent_us(self, server: int, most: int) -> list[int]: ...
    def close(self) -> None: ...

def address_of(one: tuple[str, int] | tuple[str, int, int, int]) -> bytes: ...
