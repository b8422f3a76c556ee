cdef class Places:
    cdef public object bounds
    cdef readonly object holders
    cdef object _affordable
    cdef readonly object _mute
    cdef readonly object _idle
    cdef readonly object _ending
    cdef readonly dict _of_prefix

    cpdef bint enter(self, one, bytes client, double now)
    cpdef bint make_room(self, double now)
    cpdef bint claim(self, one, bytes client)
    cpdef busy(self, one)
    cpdef ending(self, one, double now)
    cpdef leave(self, one)
    cdef _uncount(self, one)
