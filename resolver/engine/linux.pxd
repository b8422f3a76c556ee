"""Declares what the engine calls of Linux and of the C compiler: sockets, epoll, eventfd, clocks, atomic operations."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        void *msg_name
        socklen_t msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
        int msg_flags
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type
    cmsghdr *CMSG_FIRSTHDR(msghdr *message)
    unsigned char *CMSG_DATA(cmsghdr *head)
    int recvmmsg(int fd, mmsghdr *messages, unsigned int count, int flags, void *timeout)
    int sendmmsg(int fd, mmsghdr *messages, unsigned int count, int flags)
    ssize_t sendmsg(int fd, const msghdr *message, int flags)
    int socket(int family, int kind, int protocol)
    int connect(int fd, const void *address, socklen_t octets)
    const int AF_INET
    const int SOCK_CLOEXEC
    const int SOCK_DGRAM
    const int SOCK_NONBLOCK
    const int MSG_DONTWAIT
    const int MSG_NOSIGNAL

cdef extern from "<netinet/in.h>" nogil:
    struct in_addr:
        uint32_t s_addr
    struct in6_addr:
        uint8_t s6_addr[16]
    struct sockaddr_in:
        in_addr sin_addr
    struct sockaddr_in6:
        uint16_t sin6_family
        uint16_t sin6_port
        in6_addr sin6_addr
    struct in_pktinfo:
        int ipi_ifindex
    struct in6_pktinfo:
        in6_addr ipi6_addr
        unsigned int ipi6_ifindex
    const int IPPROTO_IP

cdef extern from "<sys/epoll.h>" nogil:
    union epoll_data:
        uint32_t u32
    struct epoll_event:
        uint32_t events
        epoll_data data
    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int operation, int fd, epoll_event *event)
    int epoll_wait(int epoll, epoll_event *events, int count, int timeout)
    const int EPOLL_CLOEXEC
    const int EPOLL_CTL_ADD
    const int EPOLL_CTL_DEL
    const uint32_t EPOLLIN
    const uint32_t EPOLLEXCLUSIVE

cdef extern from "<sys/random.h>" nogil:
    ssize_t getrandom(void *out, size_t octets, unsigned int flags)

cdef extern from "<unistd.h>" nogil:
    int close(int fd)

cdef extern from "<sys/eventfd.h>" nogil:
    int eventfd(unsigned int initial, int flags)
    int eventfd_write(int fd, uint64_t value)
    const int EFD_CLOEXEC
    const int EFD_NONBLOCK

cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int clock_gettime(int clock, timespec *at)
    const int CLOCK_MONOTONIC

cdef extern from "<pthread.h>" nogil:
    ctypedef unsigned long pthread_t
    pthread_t pthread_self()
    int pthread_getcpuclockid(pthread_t thread, int *clock)
    int pthread_setname_np(pthread_t thread, const char *name)

cdef extern from *:
    """
    static inline void *load_pointer(void **from) { return __atomic_load_n(from, __ATOMIC_SEQ_CST); }
    static inline void store_pointer(void **to, void *value) { __atomic_store_n(to, value, __ATOMIC_SEQ_CST); }
    static inline uint64_t load_number(uint64_t *from) { return __atomic_load_n(from, __ATOMIC_ACQUIRE); }
    static inline void store_number(uint64_t *to, uint64_t value) { __atomic_store_n(to, value, __ATOMIC_RELEASE); }
    """
    void *load_pointer(void **source) nogil
    void store_pointer(void **to, void *value) nogil
    uint64_t load_number(uint64_t *source) nogil
    void store_number(uint64_t *to, uint64_t value) nogil
