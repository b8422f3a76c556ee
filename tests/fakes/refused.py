"""Has the kernel refuse system calls of one thread, with the error that a test wants (seccomp, a filter of BPF).

Rules:
- A filter is the thread's that sets it, and of what that starts; it ends with the thread, and cannot be taken back. So
  a test sets it on a thread of its own.
- The calls of others on the same descriptors go on as ever.
"""

import ctypes
import os
import struct

_NUMBERS = {
    "x86_64": {"sendmmsg": 307, "socket": 41, "connect": 42, "epoll_ctl": 233, "getrandom": 318},
    "aarch64": {"sendmmsg": 269, "socket": 198, "connect": 203, "epoll_ctl": 21, "getrandom": 278},
}
# linux/filter.h, linux/seccomp.h, linux/prctl.h.
_LOAD, _EQUAL, _LESS, _RETURN = 0x20, 0x15, 0x35, 0x06
_REFUSE, _ALLOW = 0x0005_0000, 0x7FFF_0000
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _FILTER = 22, 38, 2
# Of struct seccomp_data; the lower half of an argument stands first, as on every machine above.
_NUMBER_AT, _ARGUMENTS_AT = 0, 16


class _Program(ctypes.Structure):
    _fields_ = (("count", ctypes.c_ushort), ("steps", ctypes.c_void_p))


def refuse(call: str, error: int, *, first: int | None = None, other_than: int | None = None, least: int = 0) -> None:
    """Let `call` fail with `error` on this thread from now on.

    first: only if its first argument (a descriptor) is this one. other_than: only if it is another one. least: only if
    its third argument (the number of datagrams of sendmmsg) is no less.
    """
    conditions = [(_NUMBER_AT, _EQUAL, _NUMBERS[os.uname().machine][call], True)]
    if first is not None:
        conditions.append((_ARGUMENTS_AT, _EQUAL, first, True))
    if other_than is not None:
        conditions.append((_ARGUMENTS_AT, _EQUAL, other_than, False))
    if least:
        conditions.append((_ARGUMENTS_AT + 16, _LESS, least, True))
    steps = []
    for number, (at, operation, value, wanted) in enumerate(conditions):
        # The step after the last condition refuses, the one behind it allows.
        away = 2 * (len(conditions) - number) - 1
        steps.append((_LOAD, 0, 0, at))
        steps.append((operation, 0 if wanted else away, away if wanted else 0, value))
    steps += [(_RETURN, 0, 0, _REFUSE | error), (_RETURN, 0, 0, _ALLOW)]
    octets = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *one) for one in steps))
    program = _Program(len(steps), ctypes.addressof(octets))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong)
    for words in ((_PR_SET_NO_NEW_PRIVS, 1, None, 0, 0), (_PR_SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0)):
        if libc.prctl(*words):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
