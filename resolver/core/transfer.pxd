import cython
from libc.stdint cimport int64_t

from .name cimport Name, skip, unfold

cdef int _LINE_OCTETS
cdef int _SOUND
cdef int _MALFORMED
cdef int _OUT_OF_ZONE
cdef int _NOT_A_SOA
cdef int _OTHER_SOA
cdef int _BEHIND_THE_END
cdef int _BAD_CLASS
cdef int _HEADER
cdef int _IN
cdef int _CNAME
cdef int _DNAME
cdef int _DS
cdef int _NS
cdef int _OPT
cdef int _RRSIG
cdef int _SOA
cdef int _TSIG
cdef int _NSEC
cdef int _DNSKEY
cdef int _NSEC3
cdef int _NSEC3PARAM
cdef int _CDS
cdef int _CDNSKEY
cdef int _ZONEMD
cdef int _FIRST_META_TYPE
cdef int _LAST_META_TYPE
cdef int _SKIP
cdef int _BLOCK
cdef int _EXCEPTION
cdef int _NO_ACTION
cdef int _NO_TRIGGER

cdef class Transfer:
    cdef Name origin
    cdef Name owner
    cdef Name target
    cdef unsigned char[::1] octets
    cdef unsigned char[::1] soa
    cdef unsigned char[::1] again
    cdef Py_ssize_t soa_size
    cdef readonly int64_t records
    cdef readonly bint closed
    cdef readonly int64_t serial
    cdef readonly int problem
    cdef readonly Py_ssize_t tsig_at
    cdef readonly Py_ssize_t written
    cdef Py_ssize_t last
    cdef Py_ssize_t last_size

cpdef int walk(const unsigned char[::1] data, Py_ssize_t end, Transfer transfer) except -1

@cython.locals(at=Py_ssize_t, left=int, start=Py_ssize_t, size=int, problem=int)
cdef int _walk(const unsigned char[::1] data, Py_ssize_t end, Transfer transfer) except -1

@cython.locals(left=int, additional=int, start=Py_ssize_t, kind=int, size=int)
cdef int _rest(const unsigned char[::1] data, Py_ssize_t at, Py_ssize_t end, Transfer transfer) except -1

@cython.locals(kind=int, depth=int, problem=int, action=int, stop=Py_ssize_t)
cdef int _record(const unsigned char[::1] data, Py_ssize_t at, int size, Transfer transfer) except -1

@cython.locals(owner=Name, origin=Name, start=Py_ssize_t, depth=int, i=Py_ssize_t)
cdef int _depth(Transfer transfer) except? -2

cdef int _says_nothing(int kind) except -1

@cython.locals(
    end=Py_ssize_t, written=Py_ssize_t, turns=int, i=Py_ssize_t, serial=int64_t, into="unsigned char[::1]",
)
cdef int _soa(const unsigned char[::1] data, Py_ssize_t at, int size, Transfer transfer) except -1

cdef int _is_rpz(Name name, Py_ssize_t at) except -1

cdef int _is_wildcard(Name name) except -1

@cython.locals(target=Name, below=Py_ssize_t, i=Py_ssize_t)
cdef int _action(Transfer transfer, int depth) except -1

@cython.locals(size=int, i=int)
cdef int _spells(Name name, const unsigned char* label) except -1

@cython.locals(into="unsigned char[::1]", start=Py_ssize_t, at=Py_ssize_t, size=Py_ssize_t)
cdef int _line(Transfer transfer, int depth, int action) except -1

@cython.locals(i=Py_ssize_t)
cdef int _is_last(unsigned char[::1] into, Py_ssize_t start, Py_ssize_t size, Transfer transfer) except -1

@cython.locals(size=int, i=int)
cdef Py_ssize_t _put(unsigned char[::1] into, Py_ssize_t at, const unsigned char* text) except -1

@cython.locals(
    into="unsigned char[::1]", owner=Name, label=int, first=int, start=Py_ssize_t, size=int, i=Py_ssize_t, octet=int,
)
cdef Py_ssize_t _named(Transfer transfer, int depth, int action, Py_ssize_t at) except -1
