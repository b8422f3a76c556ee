"""Asks a server at a rate until its stdin ends; writes what came. Run by hosts.load.

    python host_load.py SERVER RATE OUT

Rules:
- Every second query is for a listed name. A query without an answer after a second is asked again, three times in all.
- Sockets take turns, so that paths that are chosen by port are all taken. One in ten queries goes over TCP.
"""

import contextlib
import json
import os
import select
import socket
import struct
import sys
import threading
import time
from typing import Any

SOCKETS, TIMEOUT_S, TRIES = 64, 1.0, 3
LISTED, OTHER = "listed.test", "other.example"
CODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 5: "REFUSED"}


def query_of(number: int, name: str) -> bytes:
    labels = b"".join(bytes([len(one)]) + one.encode() for one in name.split("."))
    return struct.pack("!HHHHHH", number & 0xFFFF, 0x0100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1"


def said_by(reply: bytes, query: bytes) -> str:
    """The address, else the response code."""
    if len(reply) < 12 or reply[:2] != query[:2]:
        return "MALFORMED"
    if struct.unpack("!H", reply[6:8])[0] and len(reply) >= len(query) + 16:
        return socket.inet_ntoa(reply[len(query) + 12 : len(query) + 16])
    return CODES.get(reply[3] & 15, "OTHER")


def name_of(number: int) -> str:
    return f"n{number}.{LISTED if number % 2 else OTHER}"


def over_tcp(server: str, rate: float, ended: threading.Event, done: list[list[Any]]) -> None:
    number = 0
    while not ended.wait(1 / rate):
        query, began, said, tries = query_of(number, name_of(number)), time.monotonic(), "", 0
        while not said and tries < TRIES:
            tries += 1
            try:
                with socket.create_connection((server, 53), TIMEOUT_S) as one, one.makefile("rb") as stream:
                    one.sendall(len(query).to_bytes(2, "big") + query)
                    said = said_by(stream.read(int.from_bytes(stream.read(2), "big")), query)
            except OSError:
                ended.wait(TIMEOUT_S / 4)
            if said == "MALFORMED":
                said = ""
        done.append([began, "tcp", bool(number % 2), tries, said, time.monotonic()])
        number += 1


def over_udp(server: str, rate: float, ended: threading.Event, done: list[list[Any]]) -> None:
    sockets = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(SOCKETS)]
    poll = select.epoll()
    for one in sockets:
        one.setblocking(False)
        poll.register(one, select.EPOLLIN)
    by_number = {one.fileno(): one for one in sockets}
    waiting: dict[int, list[float]] = {}  # number: first sent, last sent, tries
    number, due = 0, time.monotonic()

    def send(at: int, tries: int) -> None:
        # No route, or what an earlier query came back with: this try is lost.
        with contextlib.suppress(OSError):
            sockets[(at * 7 + tries * 13) % SOCKETS].sendto(query_of(at, name_of(at)), (server, 53))

    while waiting or not ended.is_set():
        now = time.monotonic()
        while due <= now and not ended.is_set():
            waiting[number] = [now, now, 1]
            send(number, 1)
            number, due = number + 1, due + 1 / rate
        for at, (first, last, tries) in list(waiting.items()):
            if now - last < TIMEOUT_S:
                continue
            if tries >= TRIES:
                del waiting[at]
                done.append([first, "udp", bool(at % 2), int(tries), "", now])
            else:
                waiting[at] = [first, now, tries + 1]
                send(at, int(tries) + 1)
        for fileno, _ in poll.poll(max(0.0, min(due - time.monotonic(), 0.01))):
            try:
                reply = by_number[fileno].recv(4096)
            except OSError:
                continue
            low = int.from_bytes(reply[:2], "big")
            at = next((one for one in waiting if one & 0xFFFF == low), -1)
            if at >= 0:
                first, _, tries = waiting.pop(at)
                said = said_by(reply, query_of(at, name_of(at)))
                done.append([first, "udp", bool(at % 2), int(tries), said, time.monotonic()])


def main(server: str, rate: str, out: str) -> None:
    """Ask over both transports."""
    ended, done = threading.Event(), list[list[Any]]()
    each = float(rate) / 10
    threads = [
        threading.Thread(target=over_tcp, args=(server, each, ended, done)),
        threading.Thread(target=over_udp, args=(server, 9 * each, ended, done)),
    ]
    for one in threads:
        one.start()
    sys.stdin.read()
    ended.set()
    for one in threads:
        one.join()
    with open(f"{out}.new", "w") as file:
        json.dump(sorted(done, key=lambda one: one[0]), file)
    os.replace(f"{out}.new", out)


if __name__ == "__main__":
    main(*sys.argv[1:])
