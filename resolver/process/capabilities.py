"""The one capability that our processes need, that for ports below 1024, and the end of all others.

It may be permitted only (in a container it is of the interpreter's file): then it is made effective to bind. An exec of
the same interpreter takes it along, whether or not new privileges may be gained.
"""

import ctypes
from typing import Final

from resolver.process import limits

_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_CAPABILITY_VERSION_3: Final = 0x20080522
_NET_BIND_SERVICE: Final = 1 << 10

_libc: Final = ctypes.CDLL(None, use_errno=True)


def make_binding_effective() -> None:
    """Make the capability for ports below 1024 effective in this thread, if it is permitted and is not."""
    header, sets = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    _libc.capget(header, sets)
    effective, permitted = sets[:2]
    if permitted & _NET_BIND_SERVICE and not effective & _NET_BIND_SERVICE:
        sets[0] = effective | _NET_BIND_SERVICE
        _libc.capset(header, sets)


def give_up() -> bool:
    """Give up every capability of this thread; no exec gives one back. Return whether the kernel shows none."""
    _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    _libc.capset((ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)())
    limits.gain_no_privileges()
    left = (ctypes.c_uint32 * 6)()
    _libc.capget((ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0), left)
    return not any(left)
