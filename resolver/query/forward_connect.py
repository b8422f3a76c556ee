"""Opens TCP connections, to link-local addresses too.

Rules:
- The loop's own calls are left out: uvloop's look-up loses the interface of a link-local address (uvloop#539).
"""

import asyncio
import os
import socket

from resolver.config.values import Endpoint, sockaddr


async def connected(endpoint: Endpoint) -> socket.socket:
    """Return a non-blocking TCP socket connected to `endpoint`; raise OSError. The caller bounds the time."""
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    one = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        try:
            one.connect(sockaddr(endpoint))
        except BlockingIOError:
            await _until_writable(one)
            failed = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if failed:
                raise OSError(failed, os.strerror(failed)) from None
    except BaseException:
        one.close()
        raise
    return one


async def _until_writable(one: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    writable = asyncio.Event()
    loop.add_writer(one.fileno(), writable.set)
    try:
        await writable.wait()
    finally:
        loop.remove_writer(one.fileno())
