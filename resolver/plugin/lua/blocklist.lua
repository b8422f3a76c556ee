-- The policy of blocklist-resolver for resolvers that run LuaJIT: one file, its FFI, nothing else.
--
--   local blocklist = dofile("/usr/share/blocklist-resolver/lua/blocklist.lua")
--   local lists = blocklist.open("/run/blocklist-resolver-plugin", "/etc/dnsdist/blocklist.key")
--   blocklist.dnsdist(lists)      -- or blocklist.recursor(lists), or blocklist.knot(lists)
--
-- Rules:
-- - It reads what the service publishes (resolver/plugin/folder.py): keyed digests, addresses and texts of answers, no name.
-- - Every number of a format or of a rule stands in the tables below, which resolver/plugin/lua_tables.py makes from core;
--   the steps are those of core.policy and core.reply, and a test compares both on a million names.
-- - The default verdict is ASK, which is SERVFAIL; only a complete walk of a whole policy passes. An error asks.
-- - A policy is used whole or not at all. While a new one is verified, the one before judges.
-- - What a resolver keeps of whole answers is given only under the policy that judged it; what blocks is not kept.
-- - What is blocked is sent to the service as a datagram (resolver/plugin/blocks.py), which counts; nothing is kept here.

local ffi = require("ffi")
local bit = require("bit")
local C = ffi.C
local band, bor, bxor, lshift, rshift, rol = bit.band, bit.bor, bit.bxor, bit.lshift, bit.rshift, bit.rol

-- BEGIN TABLES: made by `python -m resolver.plugin.lua_tables`.
local T = {
  codes = {
    ASK = 0,
    PASS = 1,
    BLOCK = 2,
    MAX_LISTS = 16,
    BLOCK_SELF = 1,
    BLOCK_BELOW = 2,
    EXCEPT_SELF = 4,
    EXCEPT_BELOW = 8,
    SET_ASIDE = 32,
    SELFTEST = 64,
    EXCEPTION_BELOW = 128,
    SCOPE_BITS = 15,
    CLASS_IN = 1,
    ANSWER_NXDOMAIN = 2,
    FORMERR = 1,
    SERVFAIL = 2,
    NXDOMAIN = 3,
    NOTIMP = 4,
    REFUSED = 5,
    TYPE_A = 1,
    TYPE_CNAME = 5,
    TYPE_AAAA = 28,
    TYPE_DNAME = 39,
    TYPE_OPT = 41,
    TYPE_DS = 43,
    TYPE_RRSIG = 46,
    TYPE_DNSKEY = 48,
    TYPE_SVCB = 64,
    TYPE_HTTPS = 65,
    TYPE_IXFR = 251,
    TYPE_MAILA = 254,
    EDE_NONE = -1,
    EDE_OTHER = 0,
    EDE_NOT_READY = 14,
    EDE_NOT_AUTHORITATIVE = 20,
    EDE_INVALID_DATA = 24,
  },
  sip = {
    init_0 = 0x736F6D6570736575ULL,
    init_1 = 0x646F72616E646F83ULL,
    init_2 = 0x6C7967656E657261ULL,
    init_3 = 0x7465646279746573ULL,
  },
  image = {
    magic = 0x010054534C4B4C42ULL,
    header_words = 24,
    slots = 1,
    depths = 7,
    selftest_zone = "\008selftest\007invalid\000",
    selftest_labels = 3,
  },
  name = {
    max_octets = 255,
    max_pointers = 127,
    header = 12,
  },
  judge = {
    max_octets = 65536,
    digest_octets = 24,
  },
  reply = {
    least = 512,
    most_udp = 1232,
    opt_octets = 11,
    ede_option = 15,
    padding_option = 12,
    padded_octets = 468,
  },
  format = {
    policy = "policy",
    blocks = "blocks",
    image = ".image",
    magic = "BLRPLUG\001",
    header = 8,
    record = 30,
    seal_octets = 16,
    seal_text = "seal\032of\032what\032plugins\032read",
    most_members = 4096,
    most_octets = 16777216,
    key_octets = 16,
    key_closed = 7,
    look_s = 1.0,
    words_a_query = 8192,
    more_a_second = 16,
  },
  words = {
    slot = 0,
    flags = 1,
    octets_low = 2,
    octets_high = 3,
    seal_0 = 4,
    seal_1 = 5,
    seal_2 = 6,
    seal_3 = 7,
    answer = 8,
    ede = 9,
    refusal = 10,
    signal = 11,
    v4_count = 12,
    v6_count = 13,
  },
  parts = {
    v4 = 14,
    v6 = 16,
    soa = 18,
    said = 20,
    full = 22,
    brief = 24,
    clients = 26,
    exempt = 28,
  },
  flags = {
    RELEASE = 1,
    APPROVED = 2,
    ANSWERS = 4,
  },
  block = {
    magic = 0,
    slot = 4,
    bits = 6,
    qtype = 8,
    zero = 10,
    lost = 12,
    low = 16,
    high = 24,
    client = 32,
    number = 827018306,
    octets = 48,
    most = 64,
    prefix_octets = 8,
    mapped = "\000\000\000\000\000\000\000\000\000\000\255\255",
  },
}
-- END TABLES

local function declare(text) pcall(ffi.cdef, text) end

declare[[int open(const char *path, int flags, ...);]]
declare[[int close(int fd);]]
declare[[ssize_t read(int fd, void *to, size_t octets);]]
declare[[int64_t lseek(int fd, int64_t offset, int whence);]]
declare[[int statx(int folder, const char *path, int flags, unsigned int wanted, void *out);]]
declare[[void *malloc(size_t octets);]]
declare[[void free(void *memory);]]
declare[[int socket(int domain, int type, int protocol);]]
declare[[ssize_t sendto(int fd, const void *octets, size_t size, int flags, const void *to, unsigned int to_size);]]
declare[[typedef struct { int64_t seconds; int64_t nanoseconds; } blocklist_time;]]
declare[[int clock_gettime(int clock, blocklist_time *now);]]
declare[[typedef struct { uint16_t family; char path[108]; } blocklist_address;]]

local u8 = ffi.typeof("const uint8_t *")
local u32 = ffi.typeof("const uint32_t *")
local u64 = ffi.typeof("const uint64_t *")

-- SipHash-2-4 with 128 bits (core.siphash). The state is in memory: a boxed number would be made for each step.

local function round(v)
  v[0] = v[0] + v[1]
  v[2] = v[2] + v[3]
  v[1] = bxor(rol(v[1], 13), v[0])
  v[3] = bxor(rol(v[3], 16), v[2])
  v[0] = rol(v[0], 32)
  v[2] = v[2] + v[1]
  v[0] = v[0] + v[3]
  v[1] = bxor(rol(v[1], 17), v[2])
  v[3] = bxor(rol(v[3], 21), v[0])
  v[2] = rol(v[2], 32)
end

local function sip_begin(v, key)
  v[0] = bxor(key[0], T.sip.init_0)
  v[1] = bxor(key[1], T.sip.init_1)
  v[2] = bxor(key[0], T.sip.init_2)
  v[3] = bxor(key[1], T.sip.init_3)
end

local function sip_word(v, word)
  v[3] = bxor(v[3], word)
  round(v)
  round(v)
  v[0] = bxor(v[0], word)
end

local function sip_words(v, words, from, to)
  for at = from, to - 1 do
    sip_word(v, words[at])
  end
end

local function sip_end(v, octets, from, size, out, place)
  local last = lshift(ffi.cast("uint64_t", band(size, 255)), 56)
  for at = from, size - 1 do
    last = bor(last, lshift(ffi.cast("uint64_t", octets[at]), 8 * (at - from)))
  end
  sip_word(v, last)
  v[2] = bxor(v[2], 0xEEULL)
  for _ = 1, 4 do round(v) end
  out[place] = bxor(bxor(v[0], v[1]), bxor(v[2], v[3]))
  v[1] = bxor(v[1], 0xDDULL)
  for _ = 1, 4 do round(v) end
  out[place + 1] = bxor(bxor(v[0], v[1]), bxor(v[2], v[3]))
end

local sip_state = ffi.new("uint64_t[4]")

local function siphash(key, octets, size, out, place)
  local whole = rshift(size, 3)
  sip_begin(sip_state, key)
  sip_words(sip_state, ffi.cast(u64, octets), 0, whole)
  sip_end(sip_state, octets, 8 * whole, size, out, place)
end

-- Files.

local function read_file(path, most)
  local fd = C.open(path, 0)
  if fd < 0 then error("cannot be opened", 0) end
  local size = tonumber(C.lseek(fd, 0, 2))
  C.lseek(fd, 0, 0)
  if size < 0 or size > most then
    C.close(fd)
    error("has another size", 0)
  end
  local memory = C.malloc(size + 8)
  if memory == nil then
    C.close(fd)
    error("no memory", 0)
  end
  local data = ffi.gc(ffi.cast("uint8_t *", memory), C.free)
  local at = 0
  while at < size do
    local got = tonumber(C.read(fd, data + at, size - at))
    if got <= 0 then break end
    at = at + got
  end
  C.close(fd)
  if at ~= size then error("cannot be read", 0) end
  return data, size
end

-- The mode of a file, as statx(2) gives it: its structure is the same on every architecture.
local function mode_of(path)
  local out = ffi.new("uint16_t[128]")
  if C.statx(-100, path, 0, 2, out) ~= 0 then error("cannot be opened", 0) end
  return out[14]
end

local function hex(octets, size)
  local out = {}
  for at = 0, size - 1 do out[#out + 1] = string.format("%02x", octets[at]) end
  return table.concat(out)
end

local now_room = ffi.new("blocklist_time[1]")

local function now_s()
  C.clock_gettime(1, now_room)
  return tonumber(now_room[0].seconds) + tonumber(now_room[0].nanoseconds) * 1e-9
end

-- The policy: read in steps, so that no query waits for the seal of a large image.

local Lists = {}
Lists.__index = Lists

local function open(folder, key_path)
  local data, size = read_file(key_path, T.format.key_octets)
  if size ~= T.format.key_octets or band(mode_of(key_path), T.format.key_closed) ~= 0 then
    error("blocklist: " .. key_path .. ": expected " .. T.format.key_octets .. " octets, closed to all others; chmod o= it", 0)
  end
  local self = setmetatable({
    folder = folder,
    key = ffi.new("uint64_t[2]"),
    seal_key = ffi.new("uint64_t[2]"),
    policy = nil,
    coming = nil,
    next_look = -1,
    said = "",
    lost = {},
    octets = ffi.new("uint8_t[256]"),
    starts = ffi.new("int32_t[256]"),
    digests = ffi.new("uint64_t[258]"),
    last = ffi.new("uint8_t[256]"),
    out = ffi.new("uint8_t[65536]"),
    query = {},
    client = ffi.new("uint8_t[16]"),
    datagram = ffi.new("uint8_t[?]", T.block.octets * T.block.most),
    unsent = 0,
    address = ffi.new("blocklist_address"),
    socket = C.socket(1, 2 + 2048 + 524288, 0),
    complain = function() end,
    clock = now_s,
  }, Lists)
  ffi.copy(self.key, data, 16)
  local text = ffi.new("uint8_t[?]", #T.format.seal_text + 1, T.format.seal_text)
  siphash(self.key, text, #T.format.seal_text, self.seal_key, 0)
  self.address.family = 1
  ffi.copy(self.address.path, folder .. "/" .. T.format.blocks)
  for slot = 0, T.codes.MAX_LISTS - 1 do self.lost[slot] = 0 end
  self:look(true)
  return self
end

local function u64_of(words, at)
  return bor(ffi.cast("uint64_t", words[at]), lshift(ffi.cast("uint64_t", words[at + 1]), 32))
end

local function read_policy(self)
  local data, size = read_file(self.folder .. "/" .. T.format.policy, T.format.most_octets)
  local body = size - T.format.seal_octets
  if body < 4 * T.format.header then error("policy: its seal is broken", 0) end
  local seal = ffi.new("uint64_t[2]")
  siphash(self.seal_key, data, body, seal, 0)
  -- Of what was read, which may be newer than what was looked at: no two policies may have one mark.
  local mark = hex(data + body, 16)
  if hex(ffi.cast(u8, seal), 16) ~= mark then error("policy: its seal is broken", 0) end
  local words = ffi.cast(u32, data)
  if ffi.string(data, 8) ~= T.format.magic or words[6] ~= body or words[5] > T.format.most_members then
    error("policy: another format", 0)
  end
  local policy = {
    data = data, number = u64_of(words, 2), complete = words[4] == 1, members = {}, depths = {}, releases = false,
    scoped = false, signals = false, mark = mark, tag = tonumber(string.sub(mark, 1, 8), 16),
  }
  for number = 0, words[5] - 1 do
    local at = T.format.header + T.format.record * number
    local member = { seal = hex(data + 4 * (at + T.words.seal_0), 16) }
    for name, place in pairs(T.words) do member[name] = words[at + place] end
    for name, place in pairs(T.parts) do
      local start, octets = words[at + place], words[at + place + 1]
      if start + octets > body then error("policy: a part lies outside of it", 0) end
      member[name] = data + start
      member[name .. "_size"] = octets
    end
    member.octets = tonumber(bor(ffi.cast("uint64_t", member.octets_low), lshift(ffi.cast("uint64_t", member.octets_high), 32)))
    member.release = band(member.flags, T.flags.RELEASE) ~= 0
    member.approved = band(member.flags, T.flags.APPROVED) ~= 0
    member.has_answers = band(member.flags, T.flags.ANSWERS) ~= 0
    member.in_slot = member.slot < T.codes.MAX_LISTS
    if member.in_slot and member.clients_size + member.exempt_size > 0 then policy.scoped = true end
    if member.release then policy.releases = true end
    if member.signal > 0 then policy.signals = true end
    policy.members[#policy.members + 1] = member
  end
  return policy
end

local function take_image(policy, member, image)
  member.image = image
  member.image_words = ffi.cast(u64, image)
  member.slots = member.image_words[T.image.slots]
  member.depths = {}
  for depth = 1, 127 do
    local word = member.image_words[T.image.depths + (depth < 64 and 0 or 1)]
    if band(rshift(word, depth % 64), 1ULL) ~= 0ULL then
      member.depths[depth] = true
      policy.depths[depth] = true
    end
  end
end

local function open_image(self, policy, member)
  for _, known in ipairs({ self.policy or {}, policy }) do
    for _, one in ipairs(known.members or {}) do
      if one.image and one.seal == member.seal then return one.image, true end
    end
  end
  local image, size = read_file(self.folder .. "/" .. member.seal .. T.format.image, member.octets)
  local words = rshift(size, 3)
  if size ~= member.octets or band(size, 7) ~= 0 or words < T.image.header_words + 2 then
    error("image: its seal is broken", 0)
  end
  local view = ffi.cast(u64, image)
  if view[0] ~= T.image.magic or view[T.image.slots] ~= ffi.cast("uint64_t", (words - T.image.header_words) / 2) then
    error("image: another format", 0)
  end
  return image, false
end

-- Verify the coming policy, `words` words of its images at a time; return whether nothing is left to do.
local function verify(self, words)
  local policy = self.coming
  while words > 0 do
    local member = policy.members[policy.at]
    if member == nil then
      self.policy, self.coming = policy, nil
      return true
    end
    if policy.image == nil then
      local known
      policy.image, known = open_image(self, policy, member)
      if known then
        take_image(policy, member, policy.image)
        policy.image, policy.at = nil, policy.at + 1
      else
        policy.state, policy.word = ffi.new("uint64_t[4]"), 0
        sip_begin(policy.state, self.seal_key)
      end
    else
      local last = rshift(member.octets, 3)
      local stop = math.min(last, policy.word + words)
      sip_words(policy.state, ffi.cast(u64, policy.image), policy.word, stop)
      words = words - (stop - policy.word) - 1
      policy.word = stop
      if stop == last then
        local seal = ffi.new("uint64_t[2]")
        sip_end(policy.state, policy.image, member.octets, member.octets, seal, 0)
        if hex(ffi.cast(u8, seal), 16) ~= member.seal then error("image: its seal is broken", 0) end
        take_image(policy, member, policy.image)
        policy.image, policy.at = nil, policy.at + 1
      end
    end
  end
  return false
end

local function is_published_again(self)
  local fd = C.open(self.folder .. "/" .. T.format.policy, 0)
  if fd < 0 then error("policy: cannot be opened", 0) end
  local head = ffi.new("uint8_t[16]")
  local got = C.read(fd, head, 16)
  local size = tonumber(C.lseek(fd, 0, 2))
  local seal = ffi.new("uint8_t[16]")
  C.lseek(fd, math.max(0, size - 16), 0)
  local more = C.read(fd, seal, 16)
  C.close(fd)
  if got ~= 16 or more ~= 16 then error("policy: its seal is broken", 0) end
  -- The seal stands for the whole file.
  return hex(seal, 16) ~= self.mark
end

local function take_steps(self, now, at_once)
  if now >= self.next_look or at_once then
    self.next_look = now + T.format.look_s
    if is_published_again(self) then
      self.mark = nil
      self.coming = read_policy(self)
      self.coming.at, self.coming.since, self.mark = 1, now, self.coming.mark
    end
  end
  if self.coming ~= nil then
    -- Few queries: each verifies more, the longer the policy waits.
    local words = math.floor(T.format.words_a_query * (1 + T.format.more_a_second * (now - self.coming.since)))
    local done
    repeat done = verify(self, words) until done or not at_once
  end
end

-- Take the policy that was published since. at_once: look now, and verify all of it now.
function Lists:look(at_once)
  local now = self.clock()
  -- What is damaged is read again each second, however often a client asks for a synthetic name.
  at_once = at_once and (self.said == "" or now >= self.next_look)
  if self.coming == nil and now < self.next_look and not at_once then return end
  local fine, said = pcall(take_steps, self, now, at_once)
  if not fine then
    self.coming, self.mark = nil, nil
    if said ~= self.said then
      local stays = self.policy and "the policy before stays in force" or "every query is answered SERVFAIL"
      self.complain("blocklist: " .. self.folder .. ": " .. tostring(said) .. ": " .. stays)
    end
    self.said = said
  elseif self.coming == nil then
    self.said = ""
  end
end

-- Names (core.name).

-- Read the name at `start` of packet[..stop) into self.octets; return the offset after it, 0 if it is malformed.
function Lists:unfold(packet, start, stop)
  local octets, starts = self.octets, self.starts
  local at, lowest, after, written, labels, pointers = start, start, 0, 0, 0, 0
  while true do
    if at >= stop then return 0 end
    local size = packet[at]
    if size == 0 then break end
    if size >= 192 then
      if at + 2 > stop or pointers >= T.name.max_pointers then return 0 end
      if after == 0 then after = at + 2 end
      local target = band(size, 63) * 256 + packet[at + 1]
      if target >= lowest or target < T.name.header then return 0 end
      pointers = pointers + 1
      stop, lowest, at = lowest, target, target
    else
      if size >= 64 or at + 1 + size > stop or written + size + 2 > T.name.max_octets then return 0 end
      starts[labels] = written
      labels = labels + 1
      octets[written] = size
      for i = 1, size do
        local octet = packet[at + i]
        if octet >= 65 and octet <= 90 then octet = octet + 32 end
        octets[written + i] = octet
      end
      written = written + size + 1
      at = at + size + 1
    end
  end
  octets[written] = 0
  self.length = written + 1
  self.labels = labels
  if after == 0 then after = at + 1 end
  return after
end

local function skip(packet, at, stop)
  while at < stop do
    local size = packet[at]
    if size == 0 then return at + 1 end
    if size >= 192 then return at + 2 <= stop and at + 2 or 0 end
    if size >= 64 then return 0 end
    at = at + size + 1
  end
  return 0
end

local function is_marked(self)
  local octets = self.octets
  if self.labels < 3 then return false end
  local size = octets[0]
  if size < 2 or size > 6 or octets[1] ~= 95 then return false end
  for i = 2, size do
    if octets[i] < 48 or octets[i] > 57 then return false end
  end
  local at = self.starts[1]
  return octets[at] == 6 and ffi.string(octets + at + 1, 6) == "_https"
end

function Lists:is_synthetic()
  local zone = T.image.selftest_zone
  return self.labels == T.image.selftest_labels
    and self.length - self.starts[1] == #zone
    and ffi.string(self.octets + self.starts[1], #zone) == zone
end

-- Who is judged by which lists (core.admit).

local function compare(one, at, other, place)
  for i = 0, 15 do
    local difference = one[at + i] - other[place + i]
    if difference ~= 0 then return difference end
  end
  return 0
end

local function within(ranges, size, client)
  local low, high = 0, size / 32
  while low < high do
    local middle = math.floor((low + high) / 2)
    local at = 32 * middle
    if compare(client, 0, ranges, at) < 0 then
      high = middle
    elseif compare(client, 0, ranges, at + 16) > 0 then
      low = middle + 1
    else
      return true
    end
  end
  return false
end

local function judges(member, client)
  if not member.in_slot or client == nil then return true end
  if member.clients_size > 0 and not within(member.clients, member.clients_size, client) then return false end
  return not (member.exempt_size > 0 and within(member.exempt, member.exempt_size, client))
end

-- The verdict (core.policy).

local function search(member, low, high)
  local words, slots = member.image_words, member.slots
  if slots == 0ULL or words[T.image.slots] ~= slots then return nil end
  local at = tonumber(low % slots)
  local count = tonumber(slots)
  for _ = 1, count do
    local place = T.image.header_words + 2 * at
    local tail = words[place + 1]
    local bits = tonumber(band(tail, 0xFFFFULL))
    if band(bits, T.codes.SCOPE_BITS) == 0 then return 0 end
    if words[place] == low and rshift(tail, 16) == high then return bits end
    at = at + 1
    if at == count then at = 0 end
  end
  return nil
end

local function chain_of(policy, qtype)
  if qtype ~= T.codes.TYPE_DS and qtype ~= T.codes.TYPE_DNSKEY then return 0 end
  return policy.releases and 2 or 1
end

-- What the bits of a slot say of the name whose suffix of `depth` labels it is for: "except", "block" or nil.
local function say(self, bits, depth, marked)
  local own = depth == self.labels
  local itself = T.codes.EXCEPT_SELF + T.codes.BLOCK_SELF
  if marked and depth == self.labels - 2 and band(bits, itself) ~= 0 then own = true end
  if own then
    if band(bits, T.codes.EXCEPT_SELF) ~= 0 then return "except" end
    if band(bits, T.codes.BLOCK_SELF) ~= 0 then return "block" end
    return nil
  end
  if band(bits, T.codes.EXCEPT_BELOW) ~= 0 then return "except" end
  if band(bits, T.codes.BLOCK_BELOW) ~= 0 then return "block" end
  return nil
end

local function leaves_some_below(bits, chain)
  return chain == 2 or band(bits, T.codes.BLOCK_BELOW) == 0 or band(bits, T.codes.EXCEPTION_BELOW) ~= 0
end

-- Judge the name that was unfolded; client: 16 octets, nil for all lists. Return ASK, PASS or BLOCK, and with BLOCK the
-- member, the bits and the depth of the entry.
function Lists:decide(client, chain)
  local policy = self.policy
  if policy == nil then return T.codes.ASK end
  local labels, digests = self.labels, self.digests
  for depth = 1, labels do
    if policy.depths[depth] then
      local start = self.starts[labels - depth]
      siphash(self.key, self.octets + start, self.length - start, digests, 2 * depth)
    end
  end
  local marked = is_marked(self)
  local released, blocking, its_bits, deepest = false, nil, 0, 0
  for _, member in ipairs(policy.members) do
    local depth = judges(member, client) and labels or 0
    while depth > 0 do
      local bits = 0
      if member.depths[depth] then
        bits = search(member, digests[2 * depth], rshift(digests[2 * depth + 1], 16))
        if bits == nil then return T.codes.ASK end
      end
      if band(bits, T.codes.SET_ASIDE) ~= 0 and not member.approved then
        bits = band(bits, bit.bnot(T.codes.BLOCK_SELF + T.codes.BLOCK_BELOW))
      end
      local said = bits ~= 0 and say(self, bits, depth, marked)
      if said == "except" then
        if member.release then released = true end
        break
      elseif said == "block" then
        if not (chain ~= 0 and leaves_some_below(bits, chain)) and depth > deepest and member.in_slot then
          blocking, its_bits, deepest = member, bits, depth
        end
        break
      end
      depth = depth - 1
    end
  end
  if released or blocking == nil then
    return policy.complete and T.codes.PASS or T.codes.ASK
  end
  return T.codes.BLOCK, blocking, its_bits, deepest
end

-- The judgement of a reply (core.policy.judge).

local function has_target(kind)
  return kind == T.codes.TYPE_CNAME or kind == T.codes.TYPE_DNAME or kind == T.codes.TYPE_SVCB or kind == T.codes.TYPE_HTTPS
end

local function leads(kind)
  return kind == T.codes.TYPE_A or kind == T.codes.TYPE_AAAA or has_target(kind)
end

local function u16_at(packet, at) return packet[at] * 256 + packet[at + 1] end

-- Judge the name at `start` of a reply, whose own octets end before `stop`; return as `decide` does. The work on one reply
-- is bounded; a name that equals the last one is not judged again. LuaJIT compiles no closures, so the state is in self.
function Lists:name_in_reply(packet, start, stop, client, chain)
  local codes = T.codes
  local after = self:unfold(packet, start, stop)
  if after == 0 or after > stop then return codes.ASK end
  self.judged = self.judged + self.length
  if not self:is_last(chain) then
    local depths, labels, length = self.policy.depths, self.labels, self.length
    for depth = 1, labels do
      if depths[depth] then self.judged = self.judged + length - self.starts[labels - depth] + T.judge.digest_octets end
    end
    if self.judged > T.judge.max_octets then return codes.ASK end
    local said, member, bits, depth = self:decide(client, chain)
    if said ~= codes.PASS then return said, member, bits, depth end
    ffi.copy(self.last, self.octets, length)
    self.last_length, self.last_chain = length, chain
  end
  return self.judged > T.judge.max_octets and codes.ASK or codes.PASS
end

function Lists:is_last(chain)
  if self.last_length ~= self.length or self.last_chain ~= chain then return false end
  local one, other = self.last, self.octets
  for i = 0, self.length - 1 do
    if one[i] ~= other[i] then return false end
  end
  return true
end

-- Judge the reply packet[0..size). Return as `decide` does, and with PASS what ADDITIONAL has to lose: nil, or its start.
function Lists:judge(packet, size, client)
  local policy, codes = self.policy, T.codes
  if policy == nil or size < 12 or u16_at(packet, 4) > 1 then return codes.ASK end
  self.judged, self.last_length = 0, 0
  local at, question_chain, additional = 12, 0, nil
  if u16_at(packet, 4) == 1 then
    at = skip(packet, 12, size)
    if at == 0 or at + 4 > size then return codes.ASK end
    question_chain = chain_of(policy, u16_at(packet, at))
    at = at + 4
    local said, member, bits, depth = self:name_in_reply(packet, 12, size, client, question_chain)
    if said ~= codes.PASS then return said, member, bits, depth end
  end
  for section = 0, 2 do
    local start_of_section = at
    for _ = 1, u16_at(packet, 6 + 2 * section) do
      local owner = at
      at = skip(packet, at, size)
      if at == 0 or at + 10 > size then return codes.ASK end
      local kind, octets = u16_at(packet, at), u16_at(packet, at + 8)
      at = at + 10
      if at + octets > size then return codes.ASK end
      if (section ~= 1 or leads(kind)) and not (section == 2 and (additional or kind == codes.TYPE_OPT)) then
        local of = kind
        if kind == codes.TYPE_RRSIG and octets >= 2 then of = u16_at(packet, at) end
        local proves = section == 0 and (of == codes.TYPE_DS or of == codes.TYPE_DNSKEY)
        local chain = proves and question_chain or 0
        local said, member, bits, depth = self:name_in_reply(packet, owner, size, client, chain)
        if said ~= codes.PASS then
          if section < 2 then return said, member, bits, depth end
          additional = start_of_section
        end
      end
      if section < 2 and has_target(kind) then
        local from = (kind == codes.TYPE_SVCB or kind == codes.TYPE_HTTPS) and at + 2 or at
        if from >= at + octets then return codes.ASK end
        local said, member, bits, depth = self:name_in_reply(packet, from, at + octets, client, 0)
        if said ~= codes.PASS then return said, member, bits, depth end
      end
      at = at + octets
    end
  end
  return codes.PASS, nil, 0, 0, additional
end

-- The answer (core.question, core.reply).

-- Read the question and OPT of packet[0..size) into self.query; return whether it can be used.
function Lists:parse(packet, size)
  local q = self.query
  q.stop, q.has_opt, q.payload, q.dnssec_ok, q.options_at, q.options_size = 0, false, T.reply.least, 0, 0, 0
  if size < 12 or u16_at(packet, 4) ~= 1 then return false end
  local at = self:unfold(packet, 12, size)
  if at == 0 or at - 12 ~= self.length or at + 4 > size then return false end
  q.qtype, q.qclass, q.stop = u16_at(packet, at), u16_at(packet, at + 2), at + 4
  at = at + 4
  for _ = 1, u16_at(packet, 6) + u16_at(packet, 8) + u16_at(packet, 10) do
    local owner = at
    at = skip(packet, at, size)
    if at == 0 or at + 10 > size then return false end
    local octets = u16_at(packet, at + 8)
    if at + 10 + octets > size then return false end
    if u16_at(packet, at) == T.codes.TYPE_OPT and packet[owner] == 0 and not q.has_opt then
      q.has_opt, q.payload = true, math.max(T.reply.least, u16_at(packet, at + 2))
      q.dnssec_ok = rshift(packet[at + 6], 7)
      q.options_at, q.options_size = at + 10, octets
    end
    at = at + 10 + octets
  end
  return true
end

local function signals(packet, q, code)
  local at = q.options_at
  local stop = at + q.options_size
  while at + 4 <= stop do
    local size = u16_at(packet, at + 2)
    if size == 0 and u16_at(packet, at) == code then return true end
    at = at + 4 + size
  end
  return false
end

local function begin(out, packet, q, rcode)
  ffi.fill(out, 12)
  out[0], out[1] = packet[0], packet[1]
  out[2] = bor(0x80, band(packet[2], 0x79))
  out[3] = bor(0x80, band(packet[3], 0x10), rcode)
  if q.stop == 0 then return 12 end
  out[5] = 1
  ffi.copy(out + 12, packet + 12, q.stop - 12)
  return q.stop
end

local function finish(out, at, q, rcode, ede, errors, errors_size, limit)
  if at + (q.has_opt and T.reply.opt_octets or 0) > limit and at > q.stop and q.stop > 0 then
    at = q.stop
    out[2] = bor(out[2], 2)
    ffi.fill(out + 6, 6)
  end
  if not q.has_opt or at + T.reply.opt_octets > limit then return at end
  local room = limit - at - T.reply.opt_octets
  local own = ede >= 0 and 6 or 0
  if own + errors_size > room then errors_size = 0 end
  if own > room then own = 0 end
  local records = u16_at(out, 10) + 1
  out[10], out[11] = rshift(records, 8), band(records, 255)
  ffi.fill(out + at, T.reply.opt_octets)
  out[at + 2] = T.codes.TYPE_OPT
  out[at + 3], out[at + 4] = rshift(T.reply.most_udp, 8), band(T.reply.most_udp, 255)
  out[at + 5] = rshift(rcode, 4)
  out[at + 7] = q.dnssec_ok * 128
  local options = own + errors_size
  out[at + 9], out[at + 10] = rshift(options, 8), band(options, 255)
  at = at + T.reply.opt_octets
  if own > 0 then
    out[at], out[at + 1], out[at + 2], out[at + 3] = 0, T.reply.ede_option, 0, 2
    out[at + 4], out[at + 5] = rshift(ede, 8), band(ede, 255)
    at = at + 6
  end
  if errors_size > 0 then
    ffi.copy(out + at, errors, errors_size)
    at = at + errors_size
  end
  return at
end

-- Write the answer of the list that blocked into self.out; return its length, 0 if it has none.
function Lists:blocked(packet, member, bits, limit)
  if not member.has_answers then return 0 end
  local out, q, codes = self.out, self.query, T.codes
  local at = begin(out, packet, q, 0)
  local signalled = member.signal > 0 and signals(packet, q, member.signal)
  local count, records, octets = 0, nil, 0
  if q.qclass == codes.CLASS_IN and not signalled then
    if q.qtype == codes.TYPE_A and member.v4_count > 0 then
      count, records, octets = member.v4_count, member.v4, member.v4_size
    elseif q.qtype == codes.TYPE_AAAA and member.v6_count > 0 then
      count, records, octets = member.v6_count, member.v6, member.v6_size
    end
  end
  out[7] = count
  if count > 0 then
    ffi.copy(out + at, records, octets)
    at = at + octets
  else
    ffi.copy(out + at, member.soa, member.soa_size)
    out[at + 4], out[at + 5] = rshift(q.qclass, 8), band(q.qclass, 255)
    at = at + member.soa_size
    out[9] = 1
    local below = band(bits, codes.BLOCK_BELOW) ~= 0 and band(bits, codes.EXCEPTION_BELOW) == 0
    if member.answer == codes.ANSWER_NXDOMAIN and below then out[3] = bor(out[3], codes.NXDOMAIN) end
  end
  local rcode = band(out[3], 15)
  for _, name in ipairs(signalled and { "full", "brief" } or { "said" }) do
    if at + T.reply.opt_octets + member[name .. "_size"] <= limit then
      return finish(out, at, q, rcode, T.codes.EDE_NONE, member[name], member[name .. "_size"], limit)
    end
  end
  return finish(out, at, q, rcode, signalled and member.refusal or member.ede, nil, 0, limit)
end

-- Write an answer without records into self.out; return its length.
function Lists:empty(packet, rcode, ede, limit)
  return finish(self.out, begin(self.out, packet, self.query, rcode), self.query, rcode, ede, nil, 0, limit)
end

-- Counts (resolver/plugin/blocks.py).

local function put(to, at, value, octets)
  for i = 0, octets - 1 do
    to[at + i] = tonumber(band(rshift(ffi.cast("uint64_t", value), 8 * i), 0xFFULL))
  end
end

-- Send the service a block: member, bits and depth as `decide` returned them, and self.client. What its socket does not
-- take now goes with the next one.
function Lists:tell(member, bits, depth, qtype)
  if band(bits, T.codes.SELFTEST) ~= 0 then return end
  if self.unsent < T.block.most then
    self:add_block(member, bits, depth, qtype)
  else
    self.lost[member.slot] = self.lost[member.slot] + 1
  end
  local size = self.unsent * T.block.octets
  if C.sendto(self.socket, self.datagram, size, 0, self.address, ffi.sizeof(self.address)) == size then
    self.unsent = 0
  end
end

function Lists:add_block(member, bits, depth, qtype)
  local to, slot, client = self.datagram + self.unsent * T.block.octets, member.slot, self.client
  put(to, T.block.magic, T.block.number, 4)
  put(to, T.block.slot, slot, 2)
  put(to, T.block.bits, bits, 2)
  put(to, T.block.qtype, qtype, 2)
  put(to, T.block.zero, 0, 2)
  put(to, T.block.lost, self.lost[slot], 4)
  put(to, T.block.low, self.digests[2 * depth], 8)
  put(to, T.block.high, rshift(self.digests[2 * depth + 1], 16), 8)
  local mapped = ffi.string(client, 12) == T.block.mapped
  ffi.fill(to + T.block.client, 16)
  ffi.copy(to + T.block.client, client, mapped and 16 or T.block.prefix_octets)
  self.lost[slot], self.unsent = 0, self.unsent + 1
end

function Lists:close() C.close(self.socket) end

-- Say what is wrong by `complain`, if there is one; what was wrong at the opening is said again.
function Lists:say_to(complain)
  self.complain = complain or self.complain
  if self.said ~= "" then
    self.said = ""
    self:look(true)
  end
end

-- Remember the client, an address of 4 or 16 octets.
function Lists:from(address, size)
  if size == 4 then
    ffi.fill(self.client, 10)
    self.client[10], self.client[11] = 255, 255
    ffi.copy(self.client + 12, address, 4)
  else
    ffi.copy(self.client, address, 16)
  end
end

-- The order of steps (core.steps), for a resolver that gives queries and replies as octets. Each returns the length of
-- an answer in self.out, or nil where the query, or the reply, goes on. most: octets of an answer over UDP, if fewer.

function Lists:limit(tcp, most)
  if tcp then return 65535 end
  return math.max(T.reply.least, math.min(self.query.payload, most or T.reply.most_udp, T.reply.most_udp))
end

function Lists:on_query(packet, size, tcp, most)
  local codes, limit = T.codes, tcp and 65535 or T.reply.least
  if not self:parse(packet, size) then return self:empty(packet, codes.FORMERR, codes.EDE_NONE, limit) end
  local q = self.query
  limit = self:limit(tcp, most)
  if band(packet[2], 0x78) ~= 0 then return self:empty(packet, codes.NOTIMP, codes.EDE_NONE, limit) end
  if q.qtype >= codes.TYPE_IXFR and q.qtype <= codes.TYPE_MAILA then
    return self:empty(packet, codes.REFUSED, codes.EDE_NONE, limit)
  end
  if q.qclass ~= codes.CLASS_IN or band(packet[2], 1) == 0 then
    return self:empty(packet, codes.REFUSED, codes.EDE_NOT_AUTHORITATIVE, limit)
  end
  local synthetic = self:is_synthetic()
  self:look(synthetic)
  local policy = self.policy
  local client = policy and policy.scoped and not synthetic and self.client or nil
  local said, member, bits, depth = self:decide(client, policy and chain_of(policy, q.qtype) or 0)
  if said == codes.PASS and not synthetic then return nil end
  if said == codes.PASS then return self:empty(packet, codes.NXDOMAIN, codes.EDE_NONE, limit) end
  local length = 0
  if said == codes.BLOCK then
    length = self:blocked(packet, member, bits, limit)
    if length > 0 then
      self:tell(member, bits, depth, q.qtype)
      return length
    end
  end
  return self:empty(packet, codes.SERVFAIL, policy and codes.EDE_OTHER or codes.EDE_NOT_READY, limit)
end

-- query[0..query_size): what the client asked, where it is known. With true as well: the reply without ADDITIONAL.
function Lists:on_reply(packet, size, tcp, most, query, query_size)
  local codes, policy, limit = T.codes, self.policy, tcp and 65535 or T.reply.least
  local client = policy and policy.scoped and self.client or nil
  local said, member, bits, depth, additional = self:judge(packet, size, client)
  if said == codes.PASS and additional == nil then return nil end
  if said == codes.PASS then return self:without_additional(packet, size, additional), true end
  local asked, q = query or packet, self.query
  if not self:parse(asked, query and query_size or size) then
    return self:empty(asked, codes.SERVFAIL, codes.EDE_INVALID_DATA, limit)
  end
  if query then limit = self:limit(tcp, most) end
  if said == codes.BLOCK then
    local length = self:blocked(asked, member, bits, limit)
    if length > 0 then
      self:tell(member, bits, depth, q.qtype)
      return length
    end
  end
  return self:empty(asked, codes.SERVFAIL, codes.EDE_OTHER, limit)
end

-- Copy a reply without ADDITIONAL, except OPT, which has no name that could point elsewhere.
function Lists:without_additional(packet, size, start)
  local out, at, count = self.out, start, 0
  ffi.copy(out, packet, start)
  local to = start
  for _ = 1, u16_at(packet, 10) do
    local owner = at
    at = skip(packet, at, size)
    local octets = u16_at(packet, at + 8)
    if u16_at(packet, at) == T.codes.TYPE_OPT and packet[owner] == 0 then
      ffi.copy(out + to, packet + owner, at + 10 + octets - owner)
      to = to + at + 10 + octets - owner
      count = count + 1
    end
    at = at + 10 + octets
  end
  out[10], out[11] = 0, count
  return to
end

-- dnsdist.

declare[[typedef struct dnsdist_ffi_dnsquestion_t dnsdist_ffi_dnsquestion_t;]]
declare[[void dnsdist_ffi_dnsquestion_get_remoteaddr(const dnsdist_ffi_dnsquestion_t *dq, const void **addr, size_t *addrSize);]]
declare[[void *dnsdist_ffi_dnsquestion_get_header(const dnsdist_ffi_dnsquestion_t *dq);]]
declare[[uint16_t dnsdist_ffi_dnsquestion_get_len(const dnsdist_ffi_dnsquestion_t *dq);]]
declare[[bool dnsdist_ffi_dnsquestion_set_size(dnsdist_ffi_dnsquestion_t *dq, size_t newSize);]]
declare[[bool dnsdist_ffi_dnsquestion_get_tcp(const dnsdist_ffi_dnsquestion_t *dq);]]
declare[[void dnsdist_ffi_dnsquestion_set_skip_cache(dnsdist_ffi_dnsquestion_t *dq, bool skipCache);]]

local function dnsdist(lists)
  local address, address_size = ffi.new("const void *[1]"), ffi.new("size_t[1]")
  lists:say_to(errlog)
  local function taken(step, dq)
    C.dnsdist_ffi_dnsquestion_get_remoteaddr(dq, address, address_size)
    lists:from(ffi.cast(u8, address[0]), tonumber(address_size[0]))
    local packet = ffi.cast(u8, C.dnsdist_ffi_dnsquestion_get_header(dq))
    return step(lists, packet, C.dnsdist_ffi_dnsquestion_get_len(dq), C.dnsdist_ffi_dnsquestion_get_tcp(dq))
  end
  local function with(step, dq, rewritten, otherwise, failed)
    local fine, length = pcall(taken, step, dq)
    if not fine then return failed end
    if length == nil then return otherwise end
    if not C.dnsdist_ffi_dnsquestion_set_size(dq, length) then return failed end
    ffi.copy(C.dnsdist_ffi_dnsquestion_get_header(dq), lists.out, length)
    C.dnsdist_ffi_dnsquestion_set_skip_cache(dq, true)
    return rewritten
  end
  local function on_reply(dq)
    local action = DNSResponseAction
    local said = with(Lists.on_reply, dq, action.HeaderModify, action.None, action.ServFail)
    if said == action.ServFail then
      -- dnsdist changes the response code alone: the records that could not be judged would go with it.
      C.dnsdist_ffi_dnsquestion_set_skip_cache(dq, true)
      ffi.fill(ffi.cast("uint8_t *", C.dnsdist_ffi_dnsquestion_get_header(dq)) + 4, 8)
      if not C.dnsdist_ffi_dnsquestion_set_size(dq, T.name.header) then return action.Drop end
    end
    return said
  end
  addAction(AllRule(), LuaFFIAction(function(dq)
    return with(Lists.on_query, dq, DNSAction.HeaderModify, DNSAction.None, DNSAction.ServFail)
  end))
  addResponseAction(AllRule(), LuaFFIResponseAction(on_reply))
  addCacheHitResponseAction(AllRule(), LuaFFIResponseAction(on_reply))
end

-- What the resolvers below share: those that give no octets, or take none.

local function put_u16(to, at, value)
  to[at], to[at + 1] = rshift(value, 8), band(value, 255)
  return at + 2
end

-- Write a name of these labels, octet strings, uncompressed at to[at]; return the offset after it.
local function put_name(to, at, labels)
  local start = at
  for _, label in ipairs(labels) do
    if #label == 0 or #label > 63 or at - start + #label + 2 > T.name.max_octets then error("a malformed name", 0) end
    to[at] = #label
    ffi.copy(to + at + 1, label, #label)
    at = at + #label + 1
  end
  to[at] = 0
  return at + 1
end

local function name_text(octets)
  local labels, at = {}, 0
  while octets[at] ~= 0 do
    local label = ffi.string(octets + at + 1, octets[at])
    labels[#labels + 1] = string.gsub(label, "[^%w_-]", function(one) return string.format("\\%03d", string.byte(one)) end)
    at = at + octets[at] + 1
  end
  return table.concat(labels, ".") .. "."
end

local function u32_at(packet, at) return u16_at(packet, at) * 65536 + u16_at(packet, at + 2) end

-- Return the text of what is at out[at..at + size): addresses and SOA, which is all that our answers have.
function Lists:rdata_text(kind, at, size, length)
  local out, parts = self.out, {}
  if kind == T.codes.TYPE_A then
    for i = 0, 3 do parts[#parts + 1] = out[at + i] end
    return table.concat(parts, ".")
  elseif kind == T.codes.TYPE_AAAA then
    for i = 0, 14, 2 do parts[#parts + 1] = string.format("%x", u16_at(out, at + i)) end
    return table.concat(parts, ":")
  end
  local stop = at + size
  for _ = 1, 2 do
    at = self:unfold(out, at, length)
    parts[#parts + 1] = name_text(self.octets)
  end
  while at < stop do
    parts[#parts + 1] = string.format("%.0f", u32_at(out, at))
    at = at + 4
  end
  return table.concat(parts, " ")
end

-- Read the answer in self.out. Return its response code, its records ({section from 1, type, TTL, text}), the number of
-- its extended error (nil for none) and the text of that.
function Lists:read_answer(length)
  local out, records, code, said = self.out, {}, nil, ""
  local at = u16_at(out, 4) == 1 and skip(out, 12, length) + 4 or 12
  for section = 1, 3 do
    for _ = 1, u16_at(out, 4 + 2 * section) do
      at = skip(out, at, length)
      local kind, size = u16_at(out, at), u16_at(out, at + 8)
      if kind ~= T.codes.TYPE_OPT then
        records[#records + 1] = { section, kind, u32_at(out, at + 4), self:rdata_text(kind, at + 10, size, length) }
      elseif size >= 6 and u16_at(out, at + 10) == T.reply.ede_option then
        code, said = u16_at(out, at + 14), ffi.string(out + at + 16, u16_at(out, at + 12) - 2)
      end
      at = at + 10 + size
    end
  end
  return band(out[3], 15), records, code, said
end

-- PowerDNS Recursor. Rules:
-- - Its packet cache stands before everything but gettag_ffi, which gives each query the mark of the policy in force: an
--   answer is found there only under the policy that judged it, and what blocks is not kept there.
-- - It gives names and records, not octets: `on_query` and `on_reply` get messages made of them.

declare[[typedef struct pdns_ffi_param pdns_ffi_param_t;]]
declare[[void pdns_ffi_param_set_tag(pdns_ffi_param_t *param, unsigned int tag);]]

local function recursor(lists)
  local room, tag_of_none = ffi.new("uint8_t[65536]"), 0
  lists:say_to(function(text) pdnslog(text, pdns.loglevels.Error) end)

  local function tag()
    local policy = lists.policy
    return policy and not policy.scoped and policy.tag or tag_of_none
  end

  -- Each call of the Recursor's costs microseconds: what no step needs is not asked for. The Recursor shows no class.
  -- Return the offset after the question.
  local function put_question(dq)
    ffi.fill(room, T.name.header)
    if dq:getDH():getRD() then room[2] = 1 end
    room[5] = 1
    local at = put_name(room, T.name.header, dq.qname:getRawLabels())
    return put_u16(room, put_u16(room, at, dq.qtype), T.codes.CLASS_IN)
  end

  local function put_opt(dq, at)
    ffi.fill(room + at, T.reply.opt_octets)
    room[at + 2] = T.codes.TYPE_OPT
    put_u16(room, at + 3, T.reply.most_udp)
    local size, to = at + 9, at + T.reply.opt_octets
    local policy = lists.policy
    for code, content in pairs(policy and policy.signals and dq:getEDNSOptions() or {}) do
      -- What signals is empty; the content of others is the client's, of any size.
      if #content == 0 then
        if to > 65000 then error("a query with too many options", 0) end
        to = put_u16(room, put_u16(room, to, code), 0)
      end
    end
    put_u16(room, size, to - size - 2)
    put_u16(room, 10, u16_at(room, 10) + 1)
    return to
  end

  local function put_record(record, at)
    local kind = record.type
    at = put_name(room, at, record.name:getRawLabels())
    at = put_u16(room, put_u16(room, at, kind), T.codes.CLASS_IN)
    ffi.fill(room + at, 6)
    local size, to = at + 4, at + 6
    if has_target(kind) then
      local text = record:getContent()
      if kind == T.codes.TYPE_SVCB or kind == T.codes.TYPE_HTTPS then
        to, text = put_u16(room, to, 0), string.match(text, "^%d+%s+(%S+)")
      end
      to = put_name(room, to, newDN(text):getRawLabels())
    elseif kind == T.codes.TYPE_RRSIG then
      local of = string.match(record:getContent(), "^%S+")
      to = put_u16(room, to, T.codes["TYPE_" .. of] or 0)
    end
    put_u16(room, size, to - size - 2)
    return to
  end

  local function reply(dq)
    local at, places = put_question(dq), { {}, {}, {} }
    for _, record in ipairs(dq:getRecords()) do
      local section = record.place
      -- Of AUTHORITY only what leads somewhere is judged.
      if section ~= 2 or leads(record.type) then
        local place = places[section]
        place[#place + 1] = record
      end
    end
    for section, records in ipairs(places) do
      put_u16(room, 4 + 2 * section, #records)
      for _, record in ipairs(records) do
        if at > 60000 then error("a reply that is too long", 0) end
        at = put_record(record, at)
      end
    end
    return put_opt(dq, at)
  end

  local function set(dq, rcode, records, code, said)
    for _, one in ipairs(records) do dq:addRecord(one[2], one[4], one[1], one[3]) end
    if code then dq.extendedErrorCode = code end
    if code and said ~= "" then dq.extendedErrorExtra = said end
    dq.rcode, dq.variable = rcode, true
    return true
  end

  local function without_additional(dq)
    local kept = {}
    for _, record in ipairs(dq:getRecords()) do
      if record.place < 3 then kept[#kept + 1] = record end
    end
    dq:setRecords(kept)
    return true
  end

  local function with(step, write, dq)
    local raw = dq.remoteaddr:getRaw()
    lists:from(ffi.cast(u8, raw), #raw)
    local size, tcp = write(dq), dq.isTcp
    local length, kept = step(lists, room, size, tcp, nil, room, size)
    local of = tag()
    if length == nil or kept then
      if of == tag_of_none or dq.tag ~= of then dq.variable = true end
      return kept and without_additional(dq) or false
    end
    if write == reply then dq:setRecords({}) end
    return set(dq, lists:read_answer(length))
  end

  local function guarded(step, write)
    return function(dq)
      local fine, said = pcall(with, step, write, dq)
      if fine then return said end
      dq:setRecords({})
      return set(dq, T.codes.SERVFAIL, {}, T.codes.EDE_OTHER, "")
    end
  end

  local function give_tag(param)
    lists:look(false)
    C.pdns_ffi_param_set_tag(param, tag())
  end

  function gettag_ffi(param) pcall(give_tag, param) end
  preresolve = guarded(Lists.on_query, function(dq) return put_opt(dq, put_question(dq)) end)
  postresolve = guarded(Lists.on_reply, reply)
end

-- Knot Resolver 5 and 6. Rules:
-- - It keeps records and no whole answers, and each query passes `begin` before its cache.
-- - `finish` judges the octets that go to the client, whatever made them, and replaces them whole.
-- - What has no client (it asks for keys and its root) is not judged: it goes to nobody.

-- Pad the answer in self.out, whose last record is its OPT (RFC 8467 4.1); return its length.
function Lists:padded(length)
  local out, at = self.out, u16_at(self.out, 4) == 1 and skip(self.out, 12, length) + 4 or 12
  local records = u16_at(out, 6) + u16_at(out, 8) + u16_at(out, 10)
  for number = 1, records do
    at = skip(out, at, length)
    local size = u16_at(out, at + 8)
    if number == records and u16_at(out, at) == T.codes.TYPE_OPT then
      local zeros = math.min((-(length + 4)) % T.reply.padded_octets, 65531 - length)
      if zeros < 0 then return length end
      put_u16(out, at + 8, size + 4 + zeros)
      put_u16(out, put_u16(out, length, T.reply.padding_option), zeros)
      ffi.fill(out + length + 4, zeros)
      return length + 4 + zeros
    end
    at = at + 10 + size
  end
  return length
end

local function knot(lists)
  lists:say_to(function(text) log_error(C.LOG_GRP_MODULE, "%s", text) end)

  -- Take one step; return the octets of the answer, or nil.
  local function taken(step, req, packet)
    local source = req.qsource
    local address, query = source.addr, source.packet
    lists:from(ffi.cast(u8, address:ip()), address:len())
    local stream = source.flags.tcp or source.flags.tls or source.flags.http
    local most = tonumber(req.ctx.downstream_opt_rr.rclass)
    local length = step(lists, packet.wire, tonumber(packet.size), stream, most, query.wire, tonumber(query.size))
    if length == nil then return nil end
    if source.comm_flags.tls then length = lists:padded(length) end
    return ffi.string(lists.out, length)
  end

  local function write(answer, octets)
    answer:recycle()
    ffi.copy(answer.wire, octets, #octets)
    answer.size, answer.parsed = #octets, 0
    -- What reads records of the answer (its TTL in HTTP, statistics) shall find these.
    answer:parse()
  end

  local function begin_request(state, req)
    if req.qsource.addr == nil or band(state, kres.DONE + kres.FAIL) ~= 0 then return state end
    local fine, octets = pcall(taken, Lists.on_query, req, req.qsource.packet)
    if fine and octets == nil then return state end
    req:vars().blocklist = fine and octets or ""
    return kres.DONE
  end

  -- An answer without records that says an error is left as it is: a client who is refused, an upstream that is silent.
  local function is_bare(answer)
    local rcode = band(answer.wire[3], 15)
    local records = u16_at(answer.wire, 6) + u16_at(answer.wire, 8)
    -- ADDITIONAL has OPT.
    return rcode ~= 0 and rcode ~= T.codes.NXDOMAIN and records == 0 and u16_at(answer.wire, 10) <= 1
  end

  local function finish_request(state, req)
    local answer = req.answer
    if req.qsource.addr == nil or answer == nil then return state end
    local vars, fine, octets = worker.vars[req.vars_ref], true, nil
    if vars and vars.blocklist then
      octets = vars.blocklist
    elseif not is_bare(answer) then
      fine, octets = pcall(taken, Lists.on_reply, req, answer)
    end
    if fine and octets == nil then return state end
    if not fine or #octets < T.name.header or #octets > answer.max_size then
      local wire = answer.wire
      local flags = string.char(bor(128, band(wire[2], 121)), bor(128, band(wire[3], 16), T.codes.SERVFAIL))
      octets = ffi.string(wire, 2) .. flags .. string.rep("\0", 8)
    end
    write(answer, octets)
    return state
  end

  package.preload["kres_modules.blocklist"] = function()
    return { layer = { begin = begin_request, finish = finish_request } }
  end
  modules.load("blocklist")
end

return { open = open, dnsdist = dnsdist, recursor = recursor, knot = knot }
