from .deadlines cimport Deadlines

cdef class Keeper:
    cdef public object bounds
    cdef public object loop
    cdef public object hand_on
    cdef public Deadlines heads
    cdef public Deadlines ages
    cdef public Deadlines lingers

    cpdef asked(self, Connection connection)
    cpdef finished(self, Connection connection)
    cpdef watch(self, Connection connection, int mask)
    cpdef forget(self, Connection connection)
    cpdef lost(self, Connection connection)

cdef class Connection:
    cdef readonly bytes client
    cdef public bytes counted
    cdef Keeper _gate
    cdef int _fd
    cdef bytes _head
    cdef object _response
    cdef object _unsent
    cdef double _until
    cdef Py_ssize_t _discarded
    cdef bint _reads
    cdef bint _asked
    cdef bint _finished
    cdef bint _ended
    cdef bint _gone
    cdef bint _delivered
    cdef bint _paused

    cpdef int fileno(self)
    cpdef ready(self, int mask)
    cpdef receive(self)
    cpdef serve(self)
    cpdef write(self, data)
    cpdef finish(self)
    cdef _take(self, bytes data)
    cdef _take_end(self)
    cdef _discard(self, Py_ssize_t octets)
    cdef _flush(self)
    cdef _sent(self)
    cdef _watch(self)
    cdef _drop(self)
