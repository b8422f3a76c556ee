cdef class Deadlines:
    cdef object _loop
    cdef double _seconds
    cdef object _then
    cdef dict _due
    cdef object _timer

    cpdef start(self, one)
    cpdef stop(self, one)
