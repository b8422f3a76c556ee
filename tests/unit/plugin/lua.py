"""plugin/lua/blocklist.lua in a LuaJIT within this process (lupa), beside core on the same policy.

Rules:
- A question is two octets of its type and a wire-format name; many are judged in one call, as fast as a resolver would.
- What Lua says of one is four octets: verdict, list (255 for none), and the bits of the entry.
"""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lupa import luajit21

from resolver.core import codes
from resolver.core.name import Name, unfold
from resolver.core.policy import Verdict, decide
from resolver.plugin.folder import Policy
from resolver.plugin.lua_tables import PATH
from tests.unit.plugin.parts import KEY

_GLUE = b"""
local blocklist, folder, key = ...
local ffi, bit = require("ffi"), require("bit")
local lists = blocklist.open(folder, key)
local room, asked, glue = ffi.new("uint8_t[65536]"), ffi.new("uint8_t[65536]"), {}

-- The verdicts on questions, one after another in `blob`.
function glue.questions(blob, count, client)
  local from, out = ffi.cast("const uint8_t *", blob), ffi.new("uint8_t[?]", 4 * count)
  local address = client and ffi.new("uint8_t[17]", client) or nil
  local at = 0
  for number = 0, count - 1 do
    local qtype, start = from[at] * 256 + from[at + 1], at + 2
    at = start
    while from[at] ~= 0 do at = at + from[at] + 1 end
    at = at + 1
    ffi.copy(room + 12, from + start, at - start)
    assert(lists:unfold(room, 12, 12 + at - start) == 12 + at - start)
    local said, member, bits = lists:decide(address, glue.chain(qtype))
    out[4 * number] = said
    out[4 * number + 1] = member and member.slot or 255
    out[4 * number + 2], out[4 * number + 3] = bit.band(bits or 0, 255), bit.rshift(bits or 0, 8)
  end
  return ffi.string(out, 4 * count)
end

function glue.chain(qtype)
  if qtype ~= 43 and qtype ~= 48 then return 0 end
  return lists.policy and lists.policy.releases and 2 or 1
end

local function octets(step, packet, tcp, client)
  if client then lists:from(ffi.cast("const uint8_t *", client), #client) end
  ffi.copy(room, packet, #packet)
  local length = step(lists, room, #packet, tcp)
  return length and ffi.string(lists.out, length) or nil
end

function glue.query(packet, tcp, client) return octets(lists.on_query, packet, tcp, client) end
function glue.reply(packet, tcp, client) return octets(lists.on_reply, packet, tcp, client) end
-- Where the query is known, and what a client over UDP gets at most.
function glue.reply_to(query, packet, most)
  ffi.copy(asked, query, #query)
  local function step(_, reply, size) return lists:on_reply(reply, size, false, most, asked, #query) end
  return octets(step, packet, false, nil)
end
function glue.padded(packet)
  local length = lists:padded(lists:on_query(asked, glue.take(packet), true))
  return ffi.string(lists.out, length)
end
-- An answer as it is, after padding.
function glue.pad(packet)
  ffi.copy(lists.out, packet, #packet)
  return ffi.string(lists.out, lists:padded(#packet))
end
function glue.tag() return lists.policy and lists.policy.tag end
function glue.take(packet) ffi.copy(asked, packet, #packet) return #packet end
-- What a resolver that writes answers itself learns of one.
function glue.written(packet)
  local rcode, records, code, said = lists:read_answer(lists:on_query(asked, glue.take(packet), true))
  local lines = {}
  for _, one in ipairs(records) do lines[#lines + 1] = table.concat(one, " ") end
  return rcode, table.concat(lines, "; "), code, said
end
function glue.judge(packet)
  ffi.copy(room, packet, #packet)
  local said, _, _, _, additional = lists:judge(room, #packet, nil)
  return said, additional ~= nil
end
function glue.look(at_once) lists:look(at_once) end
function glue.at(seconds) lists.clock = function() return seconds end end
function glue.number() return lists.policy and tonumber(lists.policy.number) or -1 end
function glue.said() return lists.said end
function glue.close() lists:close() end
return glue
"""

_RECURSOR = b"""
local blocklist, folder, key = ...
pdnslog, pdns = function() end, { loglevels = { Error = 0 } }
local lists = blocklist.open(folder, key)
blocklist.recursor(lists)
lists:close()  -- Nothing is counted here.
local function name(labels) return { getRawLabels = function() return labels end } end
-- What becomes of a reply of so many addresses to a query over TCP with these options: whether it stays, and its rcode.
return function(addresses, codes, content)
  local records, options, owner = {}, {}, name({ string.rep("a", 63), string.rep("b", 63), "good", "test" })
  for number = 1, addresses do records[number] = { type = 1, place = 1, name = owner } end
  for code = 1, codes do options[code] = content end
  local dq = {
    qname = owner, qtype = 1, isTcp = true, tag = 0, rcode = 0,
    remoteaddr = { getRaw = function() return "\\192\\0\\2\\9" end },
    getDH = function() return { getRD = function() return true end } end,
    getRecords = function() return records end,
    getEDNSOptions = function() return options end,
    setRecords = function(_, set) records = set end,
    addRecord = function() end,
  }
  return postresolve(dq), dq.rcode, #records
end
"""

_open: list["Lua"] = []


def close_all() -> None:
    """Close the sockets of every policy that was opened here."""
    while _open:
        _open.pop().close()


class Lua:
    """The Lua policy on a published folder; key_mode: of the digest key's file."""

    def __init__(self, folder: Path, key_mode: int = 0o600) -> None:
        key = folder / "digest.key"
        key.write_bytes(KEY)
        key.chmod(key_mode)
        runtime = luajit21.LuaRuntime(encoding=None, unpack_returned_tuples=True)
        module = runtime.execute(PATH.read_bytes())
        self.glue = runtime.compile(_GLUE)(module, bytes(folder), bytes(key))
        _open.append(self)

    def questions(self, asked: Sequence[bytes], client: bytes | None = None) -> bytes:
        """What it says of these questions, four octets each."""
        said: bytes = self.glue[b"questions"](b"".join(asked), len(asked), client)
        return said

    def __getattr__(self, name: str) -> Any:
        return self.glue[name.encode()]


def in_recursor(folder: Path) -> Any:
    """`postresolve` as the Recursor calls it, on a published folder: see _RECURSOR."""
    key = folder / "digest.key"
    key.write_bytes(KEY)
    key.chmod(0o600)
    runtime = luajit21.LuaRuntime(encoding=None, unpack_returned_tuples=True)
    module = runtime.execute(PATH.read_bytes())
    return runtime.compile(_RECURSOR)(module, bytes(folder), bytes(key))


def by_core(policy: Policy, asked: Sequence[bytes], scope: int = codes.ALL_LISTS) -> bytes:
    """The same by core."""
    name, verdict, out = Name(), Verdict(), bytearray()
    generation, blocked = policy.generation, codes.BLOCK
    for one in asked:
        unfold(one, 2, len(one), name)
        said = decide(generation, name, scope, verdict, one[0] << 8 | one[1])
        if said == blocked:
            out += bytes((said, verdict.slot, verdict.bits & 255, verdict.bits >> 8))
        else:
            out += bytes((said, 255, 0, 0))
    return bytes(out)


TYPES = (1, 28, 65, 16, 43, 48)


def wire(*labels: bytes) -> bytes:
    return b"".join(bytes((len(one),)) + one for one in labels if one) + b"\0"


def lines(count: int, draw: random.Random) -> list[str]:
    """Entries of all scopes, with exceptions below some."""
    found = []
    for number in range(count):
        name = f"n{number:x}.{draw.choice('abcdefgh')}.test"
        found.append(f"={name}" if number % 3 == 0 else name)
        if number % 10 == 1:
            found.append(f"!ok.{name}")
        if number % 20 == 2:
            found.append(f"!{name.partition('.')[2]}")
    return found


def many_questions(entries: Sequence[str], count: int, draw: random.Random) -> list[bytes]:
    """So many different questions: each of `questions` with some labels before its name."""
    base = questions(entries, count // 8, draw)
    fronts = (b"", *(wire(*labels)[:-1] for labels in ((b"a",), (b"www",), (b"x", b"y"), (b"OK",), (b"_1", b"_https"))))
    more = (*fronts, b"\x01\x00", b"\x02\xff.")
    return [one[:2] + front + one[2:] for front in more for one in base if len(one) + len(front) < 250]


def questions(entries: Sequence[str], count: int, draw: random.Random) -> list[bytes]:
    """Names that are listed, below and above listed ones, near them, and far from all, with odd octets and cases."""
    marks = ((b"_8080", b"_https"), (b"_8080", b"_HTTPS"), (b"_x", b"_https"))
    fronts = ((), (b"www",), (b"ok",), *marks, (b"\x00.\xff", b"A"))
    found = []
    for _ in range(count):
        kind = draw.choice(TYPES).to_bytes(2, "big")
        labels = [one.encode() for one in draw.choice(entries).lstrip("=!").split(".")]
        way = draw.randrange(8)
        if way == 0:
            labels = labels[draw.randrange(len(labels)) :]
        elif way == 1:
            labels[0] = labels[0][:-1] + b"z"
        elif way == 2:
            labels = [draw.randbytes(draw.randrange(1, 20)) for _ in range(draw.randrange(1, 9))]
        elif way == 3:
            labels[-1] = b"example"
        if draw.random() < 0.2:
            labels = [one.upper() for one in labels]
        found.append(kind + wire(*draw.choice(fronts), *labels))
    return found
