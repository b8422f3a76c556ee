import cython

cdef Py_ssize_t _QUERY_BEGINS
cdef Py_ssize_t _ANSWERED_OCTETS
cdef Py_ssize_t _ANSWER_BEGINS
cdef Py_ssize_t _LEAST_OCTETS
cdef Py_ssize_t _LARGEST_OCTETS
cdef Py_ssize_t _LEAST_ANSWER
cdef Py_ssize_t _LARGEST_ANSWER

cpdef bytes query(number, transport, bytes client, bytes message)

@cython.locals(at=Py_ssize_t, end=Py_ssize_t, size=Py_ssize_t, start=Py_ssize_t, octets=bytes)
cpdef list answers(bytearray unread)

cdef bint _is_of_an_answer(Py_ssize_t size) except -1
