import cython

from .accept cimport Doors
from .secured cimport Secured
from .taking cimport Taking

cdef class Dot(Taking):
    cdef list _said
    cdef Py_ssize_t _waiting

    cpdef bint _is_busy(self) except -1
    @cython.locals(
        unread=bytes, at=Py_ssize_t, taken=Py_ssize_t, granted=Py_ssize_t, end=Py_ssize_t, most=Py_ssize_t,
        start=Py_ssize_t, size=Py_ssize_t, more=Py_ssize_t, doors=Doors
    )
    cpdef _take(self)
