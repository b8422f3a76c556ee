import cython

from .name cimport Name
from .octets cimport Layout

cdef int _SKIP
cdef int _BLOCK
cdef int _EXCEPTION
cdef int _NO_ACTION
cdef int _NO_TRIGGER
cdef int _CNAME
cdef int _DNAME
cdef int _DS
cdef int _NS
cdef int _RRSIG
cdef int _SOA
cdef int _NSEC
cdef int _DNSKEY
cdef int _NSEC3
cdef int _NSEC3PARAM
cdef int _CDS
cdef int _CDNSKEY
cdef int _ZONEMD

@cython.locals(start=Py_ssize_t, depth=int, i=Py_ssize_t)
cpdef int depth_below(Name owner, Name origin) except? -2

cpdef int said_by(Name owner, Name origin, int depth, int kind, Name target) except -1

cpdef int is_wildcard(Name name) except -1

cdef int _serves_the_zone(int kind) except -1

cdef int _is_rpz(Name name, Py_ssize_t at) except -1

@cython.locals(below=Py_ssize_t, i=Py_ssize_t)
cdef int _action(Name owner, Name origin, int depth, Name target) except -1

@cython.locals(size=int, i=int)
cdef int _spells(Name name, const unsigned char* label) except -1

cpdef Py_ssize_t written_as(Name owner, int depth, int action, unsigned char[::1] into, Py_ssize_t at) except -1

@cython.locals(size=int, i=int)
cdef Py_ssize_t _put(unsigned char[::1] into, Py_ssize_t at, const unsigned char* text) except -1

@cython.locals(label=int, first=int, start=Py_ssize_t, size=int, i=int, octet=int)
cdef Py_ssize_t _named(Name owner, int depth, int action, unsigned char[::1] into, Py_ssize_t at) except -1
