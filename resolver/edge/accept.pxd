import cython

from .link cimport Link
from .secured cimport Secured

cdef class Doors:
    cdef readonly object transport
    cdef readonly Link link
    cdef readonly object tallies
    cdef readonly object loop
    cdef readonly object proxied
    cdef readonly object places
    cdef readonly object octets
    cdef object _access
    cdef object _trusted
    cdef object _scratch
    cdef object _secure
    cdef object _above
    cdef object _idle_s
    cdef object _life_s
    cdef list _sockets
    cdef object _shaking
    cdef list _says
    cdef Py_ssize_t _left
    cdef object _queue
    cdef bint _turns
    cdef bint _rests
    cdef Py_ssize_t _moved
    cdef double _logged_at
    cdef object _timer

    cpdef says(self, Secured connection)
    @cython.locals(left=Py_ssize_t)
    cpdef Py_ssize_t granted(self, Secured connection, Py_ssize_t taken) except -1
    cpdef took(self, Py_ssize_t count)
    cpdef post(self, message, client, done)
    cpdef moved(self, Py_ssize_t octets)
    cdef _begin_turn(self)
