import cython

from .name cimport skip
from .octets cimport Layout
from .question cimport Question

cdef int _A
cdef int _AAAA
cdef int _IN

@cython.locals(
    kind=int, left=int, width=Py_ssize_t, at=Py_ssize_t, owner=Py_ssize_t, owner_size=Py_ssize_t, first=Py_ssize_t,
    second=Py_ssize_t, stride=Py_ssize_t, count=Py_ssize_t, body=Py_ssize_t, size=Py_ssize_t, fits=int, shift=Py_ssize_t,
)
cpdef int rotate(unsigned char[::1] out, Py_ssize_t end, Question question) except -1 nogil

@cython.locals(i=Py_ssize_t)
cdef int _is_owner(
    const unsigned char[::1] out, Py_ssize_t at, Py_ssize_t size, Py_ssize_t owner, Py_ssize_t owner_size
) except -1 nogil

@cython.locals(one=Py_ssize_t, other=Py_ssize_t, i=Py_ssize_t, octet=int)
cdef int _reverse(
    unsigned char[::1] out, Py_ssize_t first, Py_ssize_t second, Py_ssize_t stride, Py_ssize_t width, Py_ssize_t low,
    Py_ssize_t high,
) except -1 nogil
