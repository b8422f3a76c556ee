from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from resolver.engine.linux cimport sockaddr_in6

cdef enum:
    CONTROL_OCTETS = 40

cdef struct Origin:
    # Where a query came from and where it was asked: all that its answer needs.
    uint8_t control[CONTROL_OCTETS]
    sockaddr_in6 peer
    uint16_t place
    uint16_t control_octets

cdef struct Handed:
    # What was done already for a query that is left: server: which was asked, at sent_ms, -1 for none; its reply,
    # which is somewhere even if it is empty.
    int server
    uint32_t reply_size
    uint64_t sent_ms
    unsigned char *reply

cdef class Shared:
    cdef readonly tuple servers
    cdef readonly tuple bounds_us
    cdef readonly int bell
    cdef int end_bell
    cdef uint64_t ended
    cdef void *_tables
    cdef void *_route
    cdef object _current
    cdef object _current_route
    cdef list _old
    cdef list _sides

cdef class Side:
    cdef void *tables
    cdef void *route
    cdef Shared _shared
    cdef list _held
    cdef bint _rings
    # What was put in and taken out since the start, in octets. Each side writes its own number.
    cdef unsigned char *_ring
    cdef uint64_t _put
    cdef uint64_t _taken

    cdef void use_tables(self) noexcept nogil
    cdef void use_route(self) noexcept nogil
    cdef void use_none(self) noexcept nogil
    cdef bint put(
        self, unsigned char *packet, uint64_t size, unsigned char *client, Origin *origin, uint64_t taken_ms,
        int outcome, int found, Handed *handed,
    ) noexcept nogil
    cdef void ring_the_bell(self) noexcept nogil

cdef unsigned char *memory_of(object held, Py_ssize_t octets) except NULL

cdef uint64_t now_us() noexcept nogil
