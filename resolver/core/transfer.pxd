import cython
from libc.stdint cimport int64_t, uint64_t

from .name cimport Name, skip, unfold
from .octets cimport Layout
from .rpz cimport depth_below, said_by, written_as
from .siphash cimport siphash128

cdef int _KEY_OCTETS
cdef int _MARK_OCTETS
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
cdef int _OPT
cdef int _SOA
cdef int _TSIG
cdef int _PTR
cdef int _MX
cdef int _FIRST_META_TYPE
cdef int _LAST_META_TYPE
cdef int _SKIP
cdef int _BLOCK
cdef int _EXCEPTION

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
    cdef readonly bint marked
    cdef const uint64_t[::1] key
    cdef uint64_t[::1] mark
    cdef unsigned char[::1] record

cpdef int walk(const unsigned char[::1] data, Py_ssize_t end, Transfer transfer) except -1

@cython.locals(at=Py_ssize_t, left=int, start=Py_ssize_t, size=int, problem=int)
cdef int _walk(const unsigned char[::1] data, Py_ssize_t end, Transfer transfer) except -1

@cython.locals(left=int, additional=int, start=Py_ssize_t, kind=int, size=int)
cdef int _rest(const unsigned char[::1] data, Py_ssize_t at, Py_ssize_t end, Transfer transfer) except -1

@cython.locals(kind=int, depth=int, problem=int, action=int, stop=Py_ssize_t)
cdef int _record(const unsigned char[::1] data, Py_ssize_t at, int size, Transfer transfer) except -1

@cython.locals(written=Py_ssize_t, i=Py_ssize_t, into="unsigned char[::1]")
cdef int _soa(const unsigned char[::1] data, Py_ssize_t at, int size, Transfer transfer) except -1

@cython.locals(written=Py_ssize_t, serial=int64_t, start=Py_ssize_t, into="unsigned char[::1]")
cdef int _marked_soa(const unsigned char[::1] data, Py_ssize_t at, int size, Transfer transfer) except -1

@cython.locals(end=Py_ssize_t, written=Py_ssize_t, turns=int)
cdef Py_ssize_t _unfolded(
    const unsigned char[::1] data, Py_ssize_t at, int size, Transfer transfer, unsigned char[::1] into,
) except -1

@cython.locals(serial=int64_t)
cdef int64_t _serial(unsigned char[::1] soa, Py_ssize_t size) except -1

cdef Py_ssize_t _copied(
    const unsigned char[::1] data, Py_ssize_t at, Py_ssize_t end, unsigned char[::1] into, Py_ssize_t written,
) except -1

@cython.locals(into="unsigned char[::1]", end=Py_ssize_t, written=Py_ssize_t, name=Py_ssize_t)
cdef int _mark(const unsigned char[::1] data, Py_ssize_t at, int size, int kind, Transfer transfer) except -1

@cython.locals(into="unsigned char[::1]")
cdef int _empty_line(Transfer transfer) except -1

@cython.locals(into="unsigned char[::1]")
cdef int _end(Transfer transfer, Py_ssize_t at) except -1

@cython.locals(shift=int, digit=int)
cdef int _hex(unsigned char[::1] into, Py_ssize_t at, uint64_t number, int digits) except -1

@cython.locals(into="unsigned char[::1]", start=Py_ssize_t, at=Py_ssize_t, size=Py_ssize_t)
cdef int _line(Transfer transfer, int depth, int action) except -1

@cython.locals(i=Py_ssize_t)
cdef int _is_last(unsigned char[::1] into, Py_ssize_t start, Py_ssize_t size, Transfer transfer) except -1
