import cython
from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memmove

cdef extern from *:
    """
    #define BLOCKLIST_VIEW_DIMENSIONS ((int) ((sizeof(__Pyx_memviewslice) / sizeof(void *) - 2) / 3))

    static inline unsigned long long blocklist_big(const unsigned char *at) {
        unsigned long long value;
        __builtin_memcpy(&value, at, 8);
    #if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        return value;
    #else
        return __builtin_bswap64(value);
    #endif
    }

    static inline unsigned long long blocklist_get(const unsigned char *at, int size) {
        unsigned long long value = 0;
        __builtin_memcpy(&value, at, size);
    #if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        value = __builtin_bswap64(value);
    #endif
        return value;
    }

    /* A hint: it reads nothing, so the place need not be in any buffer. */
    static inline void blocklist_prefetch(const void *at) {
        __builtin_prefetch(at);
    }

    /* Eight octets at once: the top bit of each says whether it is above "@", and whether above "Z". */
    static inline void blocklist_lower(unsigned char *at, Py_ssize_t size) {
        unsigned long long word, low, capital;
        for (; size >= 8; size -= 8, at += 8) {
            __builtin_memcpy(&word, at, 8);
            low = word & 0x7F7F7F7F7F7F7F7FULL;
            capital = (low + 0x3F3F3F3F3F3F3F3FULL) & ~(low + 0x2525252525252525ULL) & ~word & 0x8080808080808080ULL;
            word |= capital >> 2;
            __builtin_memcpy(at, &word, 8);
        }
        for (; size > 0; size--, at++)
            if (*at >= 'A' && *at <= 'Z')
                *at |= 32;
    }

    static inline void blocklist_put(unsigned char *at, unsigned long long value, int size) {
    #if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        value = __builtin_bswap64(value);
    #endif
        __builtin_memcpy(at, &value, size);
    }
    """
    int BLOCKLIST_VIEW_DIMENSIONS
    uint64_t blocklist_big(const unsigned char *at) noexcept nogil
    uint64_t blocklist_get(const unsigned char *at, int size) noexcept nogil
    void blocklist_prefetch(const void *at) noexcept nogil
    void blocklist_lower(unsigned char *at, Py_ssize_t size) noexcept nogil
    void blocklist_put(unsigned char *at, uint64_t value, int size) noexcept nogil

cdef class Layout:
    cdef readonly const unsigned char[::1] view

cdef int out_of_range() except -1 nogil

@cython.boundscheck(False)
cdef inline int copy(
    unsigned char[::1] out, Py_ssize_t to, const unsigned char[::1] data, Py_ssize_t at, Py_ssize_t size
) except -1 nogil:
    if size < 0 or to < 0 or at < 0 or size > out.shape[0] - to or size > data.shape[0] - at:
        return out_of_range()
    if size > 0:
        memmove(&out[0] + to, &data[0] + at, size)
    return 0

@cython.boundscheck(False)
cdef inline bint equal(
    const unsigned char[::1] one, Py_ssize_t at, const unsigned char[::1] other, Py_ssize_t start, Py_ssize_t size
) except -1 nogil:
    if size < 0 or at < 0 or start < 0 or size > one.shape[0] - at or size > other.shape[0] - start:
        return out_of_range()
    return size == 0 or memcmp(&one[0] + at, &other[0] + start, size) == 0

@cython.boundscheck(False)
cdef inline int compare16(
    const unsigned char[::1] one, Py_ssize_t at, const unsigned char[::1] other, Py_ssize_t start
) except -2 nogil:
    cdef uint64_t left, right
    if at < 0 or start < 0 or one.shape[0] - at < 16 or other.shape[0] - start < 16:
        out_of_range()
        return -2
    left = blocklist_big(&one[0] + at)
    right = blocklist_big(&other[0] + start)
    if left == right:
        left = blocklist_big(&one[0] + at + 8)
        right = blocklist_big(&other[0] + start + 8)
    return (left > right) - (left < right)

@cython.boundscheck(False)
cdef inline uint64_t get(const unsigned char[::1] data, Py_ssize_t at, int size) except? 0xFFFFFFFFFFFFFFFE nogil:
    if at < 0 or size < 0 or size > 8 or size > data.shape[0] - at:
        out_of_range()
        return 0xFFFFFFFFFFFFFFFE
    if size == 0:
        return 0
    return blocklist_get(&data[0] + at, size)

@cython.boundscheck(False)
cdef inline int put(unsigned char[::1] out, Py_ssize_t at, uint64_t value, int size) except -1 nogil:
    if at < 0 or size < 0 or size > 8 or size > out.shape[0] - at:
        return out_of_range()
    if size > 0:
        blocklist_put(&out[0] + at, value, size)
    return 0

@cython.boundscheck(False)
cdef inline int lower(unsigned char[::1] out, Py_ssize_t at, Py_ssize_t size) except -1 nogil:
    if at < 0 or size < 0 or size > out.shape[0] - at:
        return out_of_range()
    if size > 0:
        blocklist_lower(&out[0] + at, size)
    return 0
