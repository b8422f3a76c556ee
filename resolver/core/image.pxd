import cython
from libc.stdint cimport uint64_t

from .octets cimport Layout
from .siphash cimport siphash128

cdef int _HEADER_WORDS
cdef uint64_t _SCOPE_BITS
cdef uint64_t _DIGEST_BITS
cdef int _DAMAGED
cdef uint64_t _M

cdef extern from *:
    """
    static inline unsigned long long image_remainder(
        unsigned long long number, unsigned long long slots, unsigned long long inverse
    ) {
    #ifdef __SIZEOF_INT128__
        /* The quotient of the inverse (2^64 - 1) / slots is the right one, or one too small. */
        unsigned long long quotient = (unsigned long long)((unsigned __int128)number * inverse >> 64);
        number -= quotient * slots;
        return number < slots ? number : number - slots;
    #else
        return number % slots;
    #endif
    }
    """
    void __builtin_prefetch(const void *at) nogil
    uint64_t remainder "image_remainder"(uint64_t number, uint64_t slots, uint64_t inverse) nogil

cdef inline int prefetch(const uint64_t[::1] words, uint64_t inverse, uint64_t low) except -1 nogil:
    cdef Py_ssize_t slots = (words.shape[0] - _HEADER_WORDS) >> 1
    if slots > 0:
        __builtin_prefetch(&words[0] + _HEADER_WORDS + 2 * remainder(low, slots, inverse))
    return 0

@cython.locals(room=Py_ssize_t)
cpdef uint64_t inverse_of(const uint64_t[::1] words) except? 0xFFFF nogil

@cython.locals(slots=uint64_t, room=Py_ssize_t, at=uint64_t, left=uint64_t, tail=uint64_t)
cpdef int search(const uint64_t[::1] words, uint64_t inverse, uint64_t low, uint64_t high) except -1 nogil

@cython.locals(bits=int)
cpdef int find(const uint64_t[::1] words, uint64_t low, uint64_t high) except -1 nogil

@cython.locals(at=Py_ssize_t)
cpdef Py_ssize_t slot_of(const uint64_t[::1] words, uint64_t low, uint64_t high) except -2 nogil

cpdef int bits_of(const uint64_t[::1] words, Py_ssize_t slot) except -1 nogil

@cython.locals(tail=uint64_t)
cpdef int entry(const uint64_t[::1] words, Py_ssize_t slot, uint64_t[::1] out) except -1 nogil

@cython.locals(at=Py_ssize_t, used=Py_ssize_t)
cpdef Py_ssize_t occupied(const uint64_t[::1] words) except -1 nogil

@cython.locals(at=Py_ssize_t, found=list)
cpdef list with_bit(const uint64_t[::1] words, uint64_t bit)

@cython.locals(at=Py_ssize_t)
cpdef Py_ssize_t add(uint64_t[::1] words, uint64_t low, uint64_t high, uint64_t bits) except? -1 nogil

@cython.locals(seen=uint64_t, slots=uint64_t)
cpdef uint64_t touch(
    const uint64_t[::1] words, const uint64_t[::1] digests, Py_ssize_t at, Py_ssize_t stop,
) except? 0xFFFF nogil

cpdef int set_bits(uint64_t[::1] words, Py_ssize_t slot, uint64_t bits) except -1 nogil

cpdef int deepen(uint64_t[::1] words, uint64_t low, uint64_t high) except -1 nogil

@cython.locals(slots=uint64_t, at=uint64_t, left=uint64_t, tail=uint64_t)
cdef Py_ssize_t _place(const uint64_t[::1] words, uint64_t low, uint64_t high) except -1 nogil
