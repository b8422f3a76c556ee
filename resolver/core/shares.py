# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Shares something bounded between client prefixes: places to wait, connections, octets of the cache.

Rules:
- A client is its prefix (/32 of IPv4, /56 of IPv6, as in admit). The memory holds keyed digests of prefixes and what
  each holds; no address.
- `take` succeeds if the prefix then holds at most `most`. The caller chooses `most`: the share of one prefix. With what
  is free as `most`, N prefixes that take all they can leave one part in N + 1 free.
- Places that come back: `give` returns them to the slot that `take` named. `heaviest` is a slot that holds the most,
  within a factor of two; of equals the one that has held as much for longest.
- Amounts that nobody returns: they are halved once for each step of `epoch`, a number that grows with time or with what
  all have taken. What returns is taken with an epoch that stays.
- A prefix that finds its set full joins the slot that holds least there, and has that amount too. Who shares a set is
  the key's choice, so nobody can aim at another; a slot never loses what it holds.
- An error takes nothing.
- One lock covers all slots, for the lists of levels run through all of them: what takes a share costs more than that.
"""

import cython

from .locks import Locks

if not cython.compiled:
    from .admit import set_prefix
    from .locks import hold, release
    from .siphash import siphash128

WAYS = 8
SLOT_WORDS = 5
SLOT_OCTETS = 8 * SLOT_WORDS
SET_OCTETS = WAYS * SLOT_OCTETS
NONE = -1
LEVELS = 65

_WAYS = WAYS
_WORDS = SLOT_WORDS
_NONE = NONE
_LEVELS = LEVELS
_HELD = 1
_EPOCH = 2
_BEFORE = 3
_AFTER = 4
_OLDEST_EPOCH = 63


class Shares:
    """What each prefix holds.

    memory: zeroed, a multiple of SET_OCTETS, owned by the caller; a slot is the prefix's tag, what it holds, the epoch
    of that, and its neighbours in the list of its level. A level is the length in bits of what a slot holds. key: 16
    octets.
    """

    def __init__(self, memory, key):
        self.slots = memoryview(memory).cast("B").cast("Q")
        self.sets = len(self.slots) // (SLOT_WORDS * WAYS)
        self.key = memoryview(bytes(key)).cast("Q")
        self.prefix = memoryview(bytearray(16))
        self.out = memoryview(bytearray(16)).cast("Q")
        self.locks = Locks(1)
        self.ends = memoryview(bytearray(16 * LEVELS)).cast("Q")


def take(shares, client, amount, most, epoch):
    """Take `amount` for the prefix of `client` (16 octets); return its slot, or NONE if it would hold above `most`."""
    try:
        return _take(shares, client, amount, most, epoch)
    except Exception:  # noqa: BLE001 - an error takes nothing
        return _NONE


def give(shares, slot, amount):
    """Return `amount` of what `take` took for this slot; return what the slot still holds."""
    at = slot * _WORDS
    if slot < 0 or at >= shares.slots.shape[0]:
        return 0
    hold(shares.locks, 0)
    has = shares.slots[at + _HELD]
    left = has - amount if has > amount else 0
    _hold(shares, at, left)
    release(shares.locks, 0)
    return left


def held(shares, slot):
    """Return what a slot holds, as of its last use; 0 for NONE."""
    at = slot * _WORDS
    if slot < 0 or at >= shares.slots.shape[0]:
        return 0
    return shares.slots[at + _HELD]


def heaviest(shares):
    """Return the slot that holds the most, within a factor of two, or NONE if none holds anything."""
    level = _LEVELS - 1
    while level > 0:
        if shares.ends[2 * level] > 0:
            return shares.ends[2 * level] - 1
        level -= 1
    return _NONE


def _take(shares, client, amount, most, epoch):
    if shares.sets == 0 or amount > most:
        return _NONE
    if len(client) < 16:
        raise IndexError("shares: not an address")
    hold(shares.locks, 0)
    slot = _take_locked(shares, client, amount, most, epoch)
    release(shares.locks, 0)
    return slot


def _take_locked(shares, client, amount, most, epoch):
    """Do what `take` does; the lock is held."""
    set_prefix(client, shares.prefix)
    siphash128(shares.key, shares.prefix, 0, 16, shares.out, 0)
    at = _slot_of(shares, shares.out[0], epoch)
    has = _holds(shares, at, epoch)
    if has > most - amount:
        return _NONE
    shares.slots[at] = shares.out[0]
    if epoch > shares.slots[at + _EPOCH]:
        shares.slots[at + _EPOCH] = epoch
    _hold(shares, at, has + amount)
    return at // _WORDS


def _slot_of(shares, tag, epoch):
    """Return the first word of the prefix's slot, else of the slot that holds least in its set."""
    first = ((tag >> 32) * shares.sets >> 32) * _WAYS * _WORDS
    least = first
    least_held = _holds(shares, first, epoch)
    way = 0
    while way < _WAYS:
        at = first + way * _WORDS
        if shares.slots[at] == tag:
            return at
        has = _holds(shares, at, epoch)
        if has < least_held:
            least = at
            least_held = has
        way += 1
    return least


def _holds(shares, at, epoch):
    """Return what a slot holds at `epoch`: halved once for each step since its last use."""
    steps = 0
    if epoch > shares.slots[at + _EPOCH]:
        steps = epoch - shares.slots[at + _EPOCH]
    if steps > _OLDEST_EPOCH:
        return 0
    return shares.slots[at + _HELD] >> steps


def _hold(shares, at, amount):
    """Set what a slot holds, and move it to the end of its level's list if the level changes."""
    before = _level(shares.slots[at + _HELD])
    after = _level(amount)
    shares.slots[at + _HELD] = amount
    if before == after:
        return 0
    if before > 0:
        _unlink(shares, at, before)
    if after > 0:
        last = _slot(shares, shares.ends[2 * after + 1])
        shares.slots[at + _BEFORE] = last
        shares.slots[at + _AFTER] = 0
        if last > 0:
            shares.slots[(last - 1) * _WORDS + _AFTER] = at // _WORDS + 1
        else:
            shares.ends[2 * after] = at // _WORDS + 1
        shares.ends[2 * after + 1] = at // _WORDS + 1
    return 0


def _unlink(shares, at, level):
    """Take a slot out of its level's list. Neighbours and ends are slots counted from 1; 0 is none."""
    before = _slot(shares, shares.slots[at + _BEFORE])
    after = _slot(shares, shares.slots[at + _AFTER])
    if before > 0:
        shares.slots[(before - 1) * _WORDS + _AFTER] = after
    else:
        shares.ends[2 * level] = after
    if after > 0:
        shares.slots[(after - 1) * _WORDS + _BEFORE] = before
    else:
        shares.ends[2 * level + 1] = before
    return 0


def _slot(shares, number):
    """Return a neighbour's number, 0 if there is no such slot: memory may be damaged, and here nothing may raise."""
    return number if number <= shares.sets * _WAYS else 0


if not cython.compiled:

    def _level(amount):
        """Return the length in bits."""
        return amount.bit_length()
