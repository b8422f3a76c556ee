import cython
from libc.stdint cimport uint64_t

from .octets cimport Layout, copy, equal, lower

cdef int _MAX_FIELDS
cdef Py_ssize_t _MAX_LENGTH
cdef Py_ssize_t _MAX_PARTS
cdef Py_ssize_t _MAX_WORD
cdef int _LANGUAGES
cdef int _ENCODINGS
cdef Py_ssize_t _WHOLE
cdef int _NEWLINE
cdef int _RETURN
cdef int _TAB
cdef int _SPACE
cdef int _HASH
cdef int _COMMA
cdef int _HYPHEN
cdef int _DOT
cdef int _SLASH
cdef int _ZERO
cdef int _ONE
cdef int _NINE
cdef int _COLON
cdef int _SEMICOLON
cdef int _EQUALS
cdef int _QUESTION
cdef int _Q
cdef int _STAR
cdef int _TOKEN
cdef int _TARGET
cdef int _VALUE
cdef int _SCHEME
cdef int _WORD
cdef int _BLANK
cdef const unsigned char[::1] _KINDS
cdef const unsigned char[::1] _GET
cdef const unsigned char[::1] _HEAD
cdef const unsigned char[::1] _VERSION
cdef const unsigned char[::1] _HOST
cdef const unsigned char[::1] _ACCEPT
cdef const unsigned char[::1] _ACCEPT_LANGUAGE
cdef const unsigned char[::1] _ACCEPT_ENCODING
cdef const unsigned char[::1] _DOCUMENT
cdef const unsigned char[::1] _GZIP
cdef const unsigned char[::1] _X_GZIP
cdef const unsigned char[::1] _JOINT

cdef class Visit:
    cdef readonly bint get
    cdef readonly bint head
    cdef readonly bint document
    cdef readonly Py_ssize_t path
    cdef readonly Py_ssize_t path_end
    cdef int gathered
    cdef readonly unsigned char[::1] octets
    cdef readonly uint64_t[::1] sizes
    cdef readonly uint64_t[::1] begins
    cdef readonly uint64_t[::1] ends
    cdef readonly uint64_t[::1] weights

cdef class Tags:
    cdef readonly Py_ssize_t count
    cdef readonly Py_ssize_t default
    cdef readonly const unsigned char[::1] octets
    cdef readonly uint64_t[::1] ends

@cython.locals(which=Py_ssize_t, at=Py_ssize_t)
cpdef int forget(Visit visit) except -1 nogil

@cython.locals(at=Py_ssize_t, colon=Py_ssize_t, end=Py_ssize_t, fields=int, hosts=int)
cpdef int read(Visit visit, const unsigned char[::1] data) except -1 nogil

@cython.locals(begin=Py_ssize_t)
cdef Py_ssize_t _line(const unsigned char[::1] data, Py_ssize_t at, Visit visit) except -1 nogil

@cython.locals(at=Py_ssize_t)
cdef int _target(Visit visit, const unsigned char[::1] data, Py_ssize_t begin, Py_ssize_t end) except -1 nogil

@cython.locals(size=Py_ssize_t)
cdef int _field(
    Visit visit, const unsigned char[::1] data, Py_ssize_t at, Py_ssize_t colon, Py_ssize_t end
) except -1 nogil

cdef int _names_document(const unsigned char[::1] data, Py_ssize_t at, Py_ssize_t end) except -1 nogil

cdef int _gather(
    Visit visit, Py_ssize_t which, const unsigned char[::1] data, Py_ssize_t at, Py_ssize_t end
) except -1 nogil

@cython.locals(had=Py_ssize_t)
cdef int _append(
    Visit visit, Py_ssize_t which, const unsigned char[::1] data, Py_ssize_t at, Py_ssize_t size
) except -1 nogil

@cython.locals(count=Py_ssize_t, bound=Py_ssize_t, weight=Py_ssize_t, part=Py_ssize_t, found=Py_ssize_t)
cpdef Py_ssize_t language(Visit visit, Tags tags) except -1 nogil

@cython.locals(begin=Py_ssize_t, end=Py_ssize_t, number=Py_ssize_t)
cdef Py_ssize_t _fitting(Visit visit, Tags tags, Py_ssize_t part, Py_ssize_t count) except -2 nogil

@cython.locals(at=Py_ssize_t)
cdef Py_ssize_t _shorter(Visit visit, Py_ssize_t begin, Py_ssize_t end) except -1 nogil

@cython.locals(number=Py_ssize_t)
cdef Py_ssize_t _any(Visit visit, Tags tags, Py_ssize_t count) except -1 nogil

@cython.locals(part=Py_ssize_t)
cdef int _refused(Visit visit, Tags tags, Py_ssize_t number, Py_ssize_t count) except -1 nogil

@cython.locals(start=Py_ssize_t)
cdef int _is_tag(Visit visit, Tags tags, Py_ssize_t number, Py_ssize_t begin, Py_ssize_t end) except -1 nogil

@cython.locals(
    count=Py_ssize_t, named=Py_ssize_t, other=Py_ssize_t, rest=Py_ssize_t, part=Py_ssize_t, begin=Py_ssize_t,
    end=Py_ssize_t,
)
cpdef int takes_gzip(Visit visit) except -1 nogil

@cython.locals(at=Py_ssize_t, end=Py_ssize_t, count=Py_ssize_t, stop=Py_ssize_t)
cdef Py_ssize_t _parts(Visit visit, Py_ssize_t which) except -1 nogil

@cython.locals(begin=Py_ssize_t, weight=Py_ssize_t, first=int, most=int, scale=int)
cdef int _part(Visit visit, Py_ssize_t at, Py_ssize_t end, Py_ssize_t number) except -1 nogil

cdef Py_ssize_t _past_blanks(Visit visit, Py_ssize_t at, Py_ssize_t end) except -1 nogil

cdef Py_ssize_t _span(const unsigned char[::1] data, Py_ssize_t at, int kind) except -1 nogil

cdef Py_ssize_t _after_line(const unsigned char[::1] data, Py_ssize_t at) except -1 nogil

cdef int _is(
    const unsigned char[::1] data, Py_ssize_t begin, Py_ssize_t end, const unsigned char[::1] word
) except -1 nogil

@cython.locals(i=Py_ssize_t, octet=int)
cdef int _is_name(const unsigned char[::1] data, Py_ssize_t at, const unsigned char[::1] name) except -1 nogil
