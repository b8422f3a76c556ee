import cython

from .name cimport skip
from .octets cimport Layout

cdef Py_ssize_t _HEADER
cdef Py_ssize_t _MAX_NAME
cdef int _CNAME
cdef int _SOA
cdef int _MB
cdef int _MR
cdef int _PTR
cdef int _MINFO
cdef int _MX
cdef int _RP
cdef int _AFSDB
cdef int _RT
cdef int _SIG
cdef int _PX
cdef int _NXT
cdef int _SRV
cdef int _NAPTR
cdef int _KX
cdef int _DNAME
cdef int _RRSIG
cdef int _NSEC
cdef int _NSEC3

@cython.locals(
    at=Py_ssize_t, to=Py_ssize_t, fixed=Py_ssize_t, body=Py_ssize_t, after=Py_ssize_t, section=int, count=int, left=int,
    kind=int, qtype=int,
)
cpdef Py_ssize_t plain_form(
    const unsigned char[::1] data, Py_ssize_t end, unsigned char[::1] out
) except -1 nogil

@cython.locals(kind=int, rdata=Py_ssize_t, names=int, before=Py_ssize_t, size=Py_ssize_t)
cdef Py_ssize_t _record(
    const unsigned char[::1] data, Py_ssize_t at, Py_ssize_t body, Py_ssize_t after, unsigned char[::1] out,
    Py_ssize_t to, Py_ssize_t fixed,
) except -1 nogil

cdef int _names(int kind) except -1 nogil

@cython.locals(to=Py_ssize_t, strings=int)
cdef Py_ssize_t _before_names(
    const unsigned char[::1] data, Py_ssize_t at, Py_ssize_t end, int kind
) except -2 nogil

@cython.locals(lowest=Py_ssize_t, written=Py_ssize_t, size=int, target=Py_ssize_t)
cdef Py_ssize_t _name(
    const unsigned char[::1] data, Py_ssize_t at, Py_ssize_t end, unsigned char[::1] out, Py_ssize_t to,
    Py_ssize_t fixed,
) except -1 nogil

@cython.locals(lowest=Py_ssize_t, size=int)
cdef int _stays(const unsigned char[::1] data, Py_ssize_t at, Py_ssize_t fixed) except -1 nogil
