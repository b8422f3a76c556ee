cdef class Secured:
    cdef public bytes client
    cdef public bint by_proxy
    cdef public bytes counted
    cdef public bint queued
    cdef public bint says
    cdef object _shared
    cdef object _socket
    cdef object _above
    cdef object _in
    cdef object _out
    cdef object _tls
    cdef bytes _opening
    cdef bytes _unsent
    cdef Py_ssize_t _seen
    cdef Py_ssize_t _bare
    cdef object _records
    cdef bint _reads
    cdef bint _writes
    cdef bint _ends
    cdef bint _heard

    cpdef send(self, bytes data)
    cpdef flush(self)
    cpdef pace(self, bint reads)
    cpdef abort(self)
    cdef _begun(self, bytes data)
    cdef _opened(self, bytes data)
    cdef _decrypt(self, bytes data=*)
    cdef bint _read(self, list pieces) except -1
    cdef _ended(self)
    cdef _watch_reads(self, bint reads)
    cdef _push(self)
    cdef _send(self, bytes data)
