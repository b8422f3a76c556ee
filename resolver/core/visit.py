# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Reads the head of a visitor's request, and chooses what of the page it gets: a language and a coding.

Rules:
- A head is read once, strictly (RFC 9112), and what does not parse is nothing: the caller answers 400, and repeats
  nothing of it.
- Looked at are the method, the path, and the fields Accept, Accept-Language and Accept-Encoding. The host is counted
  and never read; no other field is looked at.
- A field that stands more than once is one list (RFC 9110 5.3). Of a list of languages or codings the first MAX_LENGTH
  octets and the first MAX_PARTS parts count, and a part that does not parse is skipped: every list gives a choice.
- A Visit is used for every head. The caller has it forgotten (`forget`) before anything else is done: languages tell
  visitors apart.
"""

import cython

if not cython.compiled:
    from .octets import copy, equal, lower

MAX_FIELDS = 100
MAX_LENGTH = 512
MAX_PARTS = 32
MAX_WORD = 64

_MAX_FIELDS = MAX_FIELDS
_MAX_LENGTH = MAX_LENGTH
_MAX_PARTS = MAX_PARTS
_MAX_WORD = MAX_WORD

_LANGUAGES = 0
_ENCODINGS = 1
_WHOLE = 1000

_NEWLINE = 10
_RETURN = 13
_TAB = 9
_SPACE = 32
_HASH = 35
_COMMA = 44
_HYPHEN = 45
_DOT = 46
_SLASH = 47
_ZERO = 48
_ONE = 49
_NINE = 57
_COLON = 58
_SEMICOLON = 59
_EQUALS = 61
_QUESTION = 63
_Q = 113
_STAR = 42


# What an octet may be: of a token (RFC 9110 5.6.2), of a target, of a field's value, of a scheme (RFC 3986 3.1), of a
# word (a language range, RFC 4647 2.1, or a coding); a blank that surrounds a value.
TOKEN = 1
TARGET = 2
VALUE = 4
SCHEME = 8
WORD = 16
BLANK = 32

_TOKEN = TOKEN
_TARGET = TARGET
_VALUE = VALUE
_SCHEME = SCHEME
_WORD = WORD
_BLANK = BLANK

_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DIGITS = b"0123456789"
_SETS = {
    TOKEN: _LETTERS + _DIGITS + b"!#$%&'*+.^_`|~-",
    TARGET: bytes(range(0x21, 0x7F)),
    VALUE: bytes(octet for octet in range(256) if octet not in b"\r\n\0"),
    SCHEME: _LETTERS + _DIGITS + b"+.-",
    WORD: _LETTERS + _DIGITS + b"*-",
    BLANK: b" \t\x0b\x0c",
}


def kinds():
    """Return what each octet may be."""
    return bytes(sum(kind for kind, octets in _SETS.items() if octet in octets) for octet in range(256))


_KINDS = memoryview(kinds())
_GET = memoryview(b"GET")
_HEAD = memoryview(b"HEAD")
_VERSION = memoryview(b" HTTP/1.")
_HOST = memoryview(b"host")
_ACCEPT = memoryview(b"accept")
_ACCEPT_LANGUAGE = memoryview(b"accept-language")
_ACCEPT_ENCODING = memoryview(b"accept-encoding")
_DOCUMENT = memoryview(b"text/html")
_GZIP = memoryview(b"gzip")
_X_GZIP = memoryview(b"x-gzip")
_JOINT = memoryview(b", ")


class Visit:
    """What a response may depend on, of the head that was read last; reused for every head.

    get, head: the method is GET, HEAD. document: an Accept field names text/html. path, path_end: where in the head the
    path without its query stands.
    """

    def __init__(self):
        self.get = self.head = self.document = 0
        self.path = self.path_end = 0
        self.gathered = 0
        self.octets = memoryview(bytearray(2 * MAX_LENGTH))
        self.sizes = memoryview(bytearray(16)).cast("Q")
        self.begins = memoryview(bytearray(8 * MAX_PARTS)).cast("Q")
        self.ends = memoryview(bytearray(8 * MAX_PARTS)).cast("Q")
        self.weights = memoryview(bytearray(8 * MAX_PARTS)).cast("Q")


class Tags:
    """The languages of a page. tags: in lower case, in their order; default: the one for visitors without a choice.

    ValueError if `default` is none of them.
    """

    def __init__(self, tags, default):
        octets, ends = b"", []
        for tag in tags:
            octets += tag.encode("ascii")
            ends.append(len(octets))
        self.count = len(ends)
        self.default = list(tags).index(default)
        self.octets = memoryview(octets)
        self.ends = memoryview(bytearray(8 * len(ends))).cast("Q")
        for number, end in enumerate(ends):
            self.ends[number] = end


def forget(visit):
    """Overwrite what a visit holds of a head. Returns 0."""
    which = 0
    while which < 2:
        at = 0
        while at < _MAX_LENGTH and at < visit.sizes[which]:
            visit.octets[which * _MAX_LENGTH + at] = 0
            at += 1
        visit.sizes[which] = 0
        which += 1
    at = 0
    while at < _MAX_PARTS:
        visit.begins[at] = visit.ends[at] = visit.weights[at] = 0
        at += 1
    visit.get = visit.head = visit.document = 0
    visit.path = visit.path_end = 0
    visit.gathered = 0
    return 0


def read(visit, data):
    """Read a whole head, with its empty line, into a visit that is forgotten; return whether it is well formed."""
    at = _line(data, _after_line(data, 0), visit)
    if at == 0:
        return 0
    fields = hosts = 0
    while fields < _MAX_FIELDS and at < len(data) and _KINDS[data[at]] & _TOKEN:
        colon = _span(data, at, _TOKEN)
        if colon == len(data) or data[colon] != _COLON:
            return 0
        end = _span(data, colon + 1, _VALUE)
        hosts += _field(visit, data, at, colon, end)
        at = _after_line(data, end)
        if at == end:
            return 0
        fields += 1
    end = _after_line(data, at)
    return end > at and end == len(data) and hosts < 2


def _line(data, at, visit):
    """Read the first line; return where the next one begins, 0 if it is malformed."""
    begin = at
    at = _span(data, begin, _TOKEN)
    if at == begin or at == len(data) or data[at] != _SPACE:
        return 0
    visit.get = _is(data, begin, at, _GET)
    visit.head = _is(data, begin, at, _HEAD)
    begin = at + 1
    at = _span(data, begin, _TARGET)
    if at == begin or len(data) - at < 10 or not equal(data, at, _VERSION, 0, 8):
        return 0
    if data[at + 8] < _ZERO or data[at + 8] > _NINE:
        return 0
    _target(visit, data, begin, at)
    begin = at + 9
    at = _after_line(data, begin)
    return 0 if at == begin else at


def _target(visit, data, begin, end):
    """Find the path without its query in a target, which may be a whole address (RFC 9112 3.2). Returns 0."""
    at = _span(data, begin, _SCHEME)
    if at > begin and data[begin] > _NINE and end - at > 2 and data[at] == _COLON:
        if data[at + 1] == _SLASH and data[at + 2] == _SLASH:
            at += 3
            while at < end and data[at] != _SLASH and data[at] != _QUESTION and data[at] != _HASH:
                at += 1
            begin = at
    visit.path = begin
    at = begin
    while at < end and data[at] != _QUESTION and data[at] != _HASH:
        at += 1
    visit.path_end = at
    return 0


def _field(visit, data, at, colon, end):
    """Take what counts of a field; return whether it is a host."""
    size = colon - at
    if size == 4:
        return _is_name(data, at, _HOST)
    if size == 6 and _is_name(data, at, _ACCEPT):
        if not visit.document:
            visit.document = _names_document(data, colon + 1, end)
    elif size == 15 and _is_name(data, at, _ACCEPT_LANGUAGE):
        _gather(visit, _LANGUAGES, data, colon + 1, end)
    elif size == 15 and _is_name(data, at, _ACCEPT_ENCODING):
        _gather(visit, _ENCODINGS, data, colon + 1, end)
    return 0


def _names_document(data, at, end):
    """Return whether text/html stands in data[at:end], in any case."""
    while end - at >= 9:
        if data[at + 4] == _SLASH and _is_name(data, at, _DOCUMENT):
            return 1
        at += 1
    return 0


def _gather(visit, which, data, at, end):
    """Add a field's value in lower case to its list, as much as there is room for. Returns 0."""
    while at < end and _KINDS[data[at]] & _BLANK:
        at += 1
    while end > at and _KINDS[data[end - 1]] & _BLANK:
        end -= 1
    if visit.gathered & 1 << which:
        _append(visit, which, _JOINT, 0, 2)
    visit.gathered = visit.gathered | 1 << which
    _append(visit, which, data, at, end - at)
    return 0


def _append(visit, which, data, at, size):
    """Add octets to a list; its size counts those too for which there is no room. Returns 0."""
    had = visit.sizes[which]
    visit.sizes[which] = had + size
    if had < _MAX_LENGTH:
        if size > _MAX_LENGTH - had:
            size = _MAX_LENGTH - had
        copy(visit.octets, which * _MAX_LENGTH + had, data, at, size)
        lower(visit.octets, which * _MAX_LENGTH + had, size)
    return 0


def language(visit, tags):
    """Return the number of the language that a visit prefers.

    The lookup of RFC 4647 3.4: each range in the order of its weight, shortened from its end until it fits. If none
    fits, the default is returned, also if it is refused: a page in a foreign language is better than none (RFC 9110
    12.5.4).
    """
    count = _parts(visit, _LANGUAGES)
    bound = _WHOLE + 1
    while True:
        weight = 0
        part = 0
        while part < count:
            if visit.weights[part] < bound and visit.weights[part] > weight:
                weight = visit.weights[part]
            part += 1
        if weight == 0:
            return tags.default
        part = 0
        while part < count:
            if visit.weights[part] == weight:
                found = _fitting(visit, tags, part, count)
                if found >= 0:
                    return found
            part += 1
        bound = weight


def _fitting(visit, tags, part, count):
    """Return the number of the language that fits a range, -1 for none."""
    begin = visit.begins[part]
    end = visit.ends[part]
    if end - begin == 1 and visit.octets[begin] == _STAR:
        return _any(visit, tags, count)
    while end > begin:
        number = 0
        while number < tags.count:
            if _is_tag(visit, tags, number, begin, end) and not _refused(visit, tags, number, count):
                return number
            number += 1
        end = _shorter(visit, begin, end)
    return -1


def _shorter(visit, begin, end):
    """Return where a range ends without its last subtag, and without each single letter before that."""
    while True:
        at = end
        while at > begin and visit.octets[at - 1] != _HYPHEN:
            at -= 1
        if at == begin:
            return begin
        end = at - 1
        if end == begin:
            return begin
        if end - begin > 1 and visit.octets[end - 2] != _HYPHEN:
            return end
        if visit.octets[end - 1] == _HYPHEN:
            return end


def _any(visit, tags, count):
    """Return the number of the first language that is not refused, the default before all others."""
    if not _refused(visit, tags, tags.default, count):
        return tags.default
    number = 0
    while number < tags.count:
        if not _refused(visit, tags, number, count):
            return number
        number += 1
    return tags.default


def _refused(visit, tags, number, count):
    """Return whether a language has the weight 0."""
    part = 0
    while part < count:
        if visit.weights[part] == 0 and _is_tag(visit, tags, number, visit.begins[part], visit.ends[part]):
            return 1
        part += 1
    return 0


def _is_tag(visit, tags, number, begin, end):
    """Return whether octets[begin:end] is the language of this number."""
    start = 0
    if number > 0:
        start = tags.ends[number - 1]
    return tags.ends[number] - start == end - begin and equal(visit.octets, begin, tags.octets, start, end - begin)


def takes_gzip(visit):
    """Return whether a visit accepts gzip (RFC 9110 12.5.3)."""
    count = _parts(visit, _ENCODINGS)
    named = other = -1
    rest = 0
    part = 0
    while part < count:
        begin = visit.begins[part]
        end = visit.ends[part]
        if _is(visit.octets, begin, end, _GZIP):
            named = visit.weights[part]
        elif _is(visit.octets, begin, end, _X_GZIP):
            other = visit.weights[part]
        elif end - begin == 1 and visit.octets[begin] == _STAR:
            rest = visit.weights[part]
        part += 1
    if named >= 0:
        return named > 0
    if other >= 0:
        return other > 0
    return rest > 0


def _parts(visit, which):
    """Find the parts of a list and the weight of each, in thousandths; return how many there are."""
    at = which * _MAX_LENGTH
    end = at + visit.sizes[which]
    if visit.sizes[which] > _MAX_LENGTH:
        end = at + _MAX_LENGTH
        # The last may be half a word.
        while end > at and visit.octets[end - 1] != _COMMA:
            end -= 1
        if end > at:
            end -= 1
    count = 0
    while at < end and count < _MAX_PARTS:
        stop = at
        while stop < end and visit.octets[stop] != _COMMA:
            stop += 1
        count += _part(visit, at, stop, count)
        at = stop + 1
    return count


def _part(visit, at, end, number):
    """Read octets[at:end], a word that may have a weight (RFC 9110 12.4.2), as this part; return whether it is one."""
    begin = _past_blanks(visit, at, end)
    at = begin
    while at < end and _KINDS[visit.octets[at]] & _WORD:
        at += 1
    if at == begin or at - begin > _MAX_WORD:
        return 0
    visit.begins[number] = begin
    visit.ends[number] = at
    weight = _WHOLE
    at = _past_blanks(visit, at, end)
    if at < end:
        if visit.octets[at] != _SEMICOLON:
            return 0
        at = _past_blanks(visit, at + 1, end)
        if end - at < 3 or visit.octets[at] != _Q or visit.octets[at + 1] != _EQUALS:
            return 0
        first = visit.octets[at + 2]
        if first != _ZERO and first != _ONE:
            return 0
        at += 3
        weight = 0
        most = _NINE
        if first == _ONE:
            weight = _WHOLE
            most = _ZERO
        if at < end and visit.octets[at] == _DOT:
            at += 1
            scale = 100
            while at < end and scale > 0 and visit.octets[at] >= _ZERO and visit.octets[at] <= most:
                weight += scale * (visit.octets[at] - _ZERO)
                scale = scale // 10
                at += 1
        if _past_blanks(visit, at, end) < end:
            return 0
    visit.weights[number] = weight
    return 1


def _past_blanks(visit, at, end):
    """Return where octets[at:end] has no more spaces and tabs before it."""
    while at < end and (visit.octets[at] == _SPACE or visit.octets[at] == _TAB):
        at += 1
    return at


def _span(data, at, kind):
    """Return where octets of a kind end that begin at `at`."""
    while at < len(data) and _KINDS[data[at]] & kind:
        at += 1
    return at


def _after_line(data, at):
    """Return where the next line begins if a line ends at `at`, else `at`."""
    if at < len(data) and data[at] == _NEWLINE:
        return at + 1
    if len(data) - at > 1 and data[at] == _RETURN and data[at + 1] == _NEWLINE:
        return at + 2
    return at


def _is(data, begin, end, word):
    """Return whether data[begin:end] is this word."""
    return end - begin == len(word) and equal(data, begin, word, 0, len(word))


def _is_name(data, at, name):
    """Return whether this name, in lower case, begins at `at`, in any case. It must lie within the data."""
    i = 0
    while i < len(name):
        octet = data[at + i]
        if octet >= 65 and octet <= 90:
            octet += 32
        if octet != name[i]:
            return 0
        i += 1
    return 1
