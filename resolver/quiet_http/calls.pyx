# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""The system calls of a connection, on its descriptor: a visit needs no object for its socket.

Rules:
- Nothing here waits. Nothing is decided: who calls has the rules.
- An address is 16 octets, IPv4 mapped (RFC 4291 2.5.5.2). No error names one.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint16_t, uint32_t
from libc.string cimport memcpy, memset

import os

cdef extern from "<netinet/in.h>" nogil:
    ctypedef unsigned int socklen_t
    struct in_addr:
        uint32_t s_addr
    struct in6_addr:
        unsigned char s6_addr[16]
    struct sockaddr:
        uint16_t sa_family
    struct sockaddr_in:
        uint16_t sin_family
        in_addr sin_addr
    struct sockaddr_in6:
        uint16_t sin6_family
        in6_addr sin6_addr
    const int AF_INET
    const int AF_INET6

cdef extern from "<sys/socket.h>" nogil:
    struct linger:
        int l_onoff
        int l_linger
    int accept4(int fd, sockaddr *address, socklen_t *octets, int flags)
    int getsockname(int fd, sockaddr *address, socklen_t *octets)
    int setsockopt(int fd, int level, int name, const void *value, socklen_t octets)
    int c_shutdown "shutdown"(int fd, int how)
    ssize_t recv(int fd, void *data, size_t octets, int flags)
    ssize_t c_send "send"(int fd, const void *data, size_t octets, int flags)
    const int MSG_DONTWAIT
    const int MSG_NOSIGNAL
    const int SHUT_WR
    const int SOCK_CLOEXEC
    const int SOCK_NONBLOCK
    const int SOL_SOCKET
    const int SO_LINGER

cdef extern from "<sys/epoll.h>" nogil:
    union epoll_data:
        int fd
    struct epoll_event:
        uint32_t events
        epoll_data data
    int epoll_ctl(int epoll, int operation, int fd, epoll_event *event)
    const int EPOLL_CTL_ADD
    const int EPOLL_CTL_MOD

cdef extern from "<sys/ioctl.h>" nogil:
    int ioctl(int fd, unsigned long request, int *value)
    const unsigned long TIOCOUTQ

cdef extern from "<unistd.h>" nogil:
    int c_close "close"(int fd)

cdef enum:
    READ_OCTETS = 16384


cdef union Address:
    sockaddr any
    sockaddr_in v4
    sockaddr_in6 v6


cdef object failed():
    """Return the error of the last call."""
    return OSError(errno, os.strerror(errno))


cdef bint is_early() noexcept nogil:
    return errno == EAGAIN or errno == EINTR


cdef bytes octets_of(Address *address):
    cdef unsigned char octets[16]
    if address.any.sa_family == AF_INET6:
        return PyBytes_FromStringAndSize(<char *>address.v6.sin6_addr.s6_addr, 16)
    memset(octets, 0, 10)
    octets[10] = octets[11] = 255
    memcpy(&octets[12], &address.v4.sin_addr.s_addr, 4)
    return PyBytes_FromStringAndSize(<char *>octets, 16)


def accept(int listening):
    """Return the descriptor and the client of the next connection; None if none waits, OSError if it failed."""
    cdef Address address
    cdef socklen_t octets = sizeof(Address)
    cdef int fd = accept4(listening, &address.any, &octets, SOCK_CLOEXEC | SOCK_NONBLOCK)
    if fd < 0:
        if is_early():
            return None
        raise failed()
    return fd, octets_of(&address)


def reached(int fd):
    """Return our own address that the client has reached; OSError if it has gone."""
    cdef Address address
    cdef socklen_t octets = sizeof(Address)
    if getsockname(fd, &address.any, &octets) < 0:
        raise failed()
    return octets_of(&address)


def receive(int fd):
    """Return what there is to read, b"" at its end; None if there is nothing yet, OSError if the connection failed."""
    cdef char data[READ_OCTETS]
    cdef ssize_t size = recv(fd, data, READ_OCTETS, MSG_DONTWAIT)
    if size < 0:
        if is_early():
            return None
        raise failed()
    return PyBytes_FromStringAndSize(data, size)


def send(int fd, data):
    """Return how many octets the kernel took, 0 if it takes none now; OSError if the connection failed."""
    cdef const unsigned char[::1] view
    cdef ssize_t sent
    if type(data) is bytes:
        sent = c_send(fd, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), MSG_DONTWAIT | MSG_NOSIGNAL)
    elif not data:
        return 0
    else:
        view = data
        sent = c_send(fd, &view[0], len(view), MSG_DONTWAIT | MSG_NOSIGNAL)
    if sent < 0:
        if is_early():
            return 0
        raise failed()
    return sent


def end_half(int fd):
    """End our half of a connection, unless it has gone."""
    c_shutdown(fd, SHUT_WR)


def reset(int fd):
    """Have a connection's close reset it, which leaves no state in our kernel."""
    cdef linger at_once
    at_once.l_onoff, at_once.l_linger = 1, 0
    if setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)) < 0:
        raise failed()


def unacknowledged(int fd):
    """Return how many octets the client's kernel has not acknowledged yet."""
    cdef int queued = 0
    if ioctl(fd, TIOCOUTQ, &queued) < 0:
        raise failed()
    return queued


def close(int fd):
    """Close a descriptor."""
    c_close(fd)


def watch(int poll, int fd, uint32_t events, bint first):
    """Have an epoll watch a descriptor for events, for the first time or for others than before."""
    cdef epoll_event event
    event.events = events
    event.data.fd = fd
    if epoll_ctl(poll, EPOLL_CTL_ADD if first else EPOLL_CTL_MOD, fd, &event) < 0:
        raise failed()
