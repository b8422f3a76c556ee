cdef class Taking:
    cdef public object _doors
    cdef public object _connection
    cdef public bytes _unread
    cdef public bint _queued
    cdef public bint _ending
    cdef public bint _draining
    cdef public bint _over

    cpdef bint _is_busy(self) except -1
    cpdef bint _has_room(self) except -1
    cpdef _take(self)
    cpdef _pace(self)
