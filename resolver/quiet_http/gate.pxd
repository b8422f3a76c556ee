from resolver.query.accept_limits cimport Places

from .connection cimport Connection, Keeper

cdef class Gate(Keeper):
    cdef readonly Py_ssize_t turned_away
    cdef object _poll
    cdef int _poll_fd
    cdef dict _listening
    cdef dict _open
    cdef Places _places
    cdef object _paces
    cdef object _readable
    cdef object _requests
    cdef object _waiting
    cdef double _rests_until
    cdef object _turn
    cdef object _emptied

    cpdef asked(self, Connection connection)
    cpdef finished(self, Connection connection)
    cpdef forget(self, Connection connection)
    cpdef lost(self, Connection connection)
    cpdef watch(self, Connection connection, int mask)
    cdef double _due(self, bytes prefix, double now)
    cdef _queue(self, Connection connection)
    cdef _note(self, listening)
    cpdef _wake(self)
    cdef Py_ssize_t _accept(self)
    cdef bint _claim(self, Connection connection, bytes client)
    cdef _next(self)
    cdef _begin(self, Connection connection)
