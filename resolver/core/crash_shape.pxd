from .octets cimport Layout
from .question cimport Question, parse

cdef int _OCTETS
cdef int _STREAM
cdef int _REPLY
cdef int _QTYPE
cdef int _QCLASS
cdef int _LABELS
cdef int _FLAGS
cdef int _EDNS
cdef int _UNKNOWN

cdef class Shape:
    cdef long long[::1] numbers

cpdef int read(
    Shape shape, const unsigned char[::1] packet, Py_ssize_t end, bint stream, Question question
) except -1 nogil

cpdef int reply(Shape shape, Py_ssize_t end) except -1 nogil

cdef int _begin(Shape shape, Py_ssize_t end, int stream, int is_reply) except -1 nogil
