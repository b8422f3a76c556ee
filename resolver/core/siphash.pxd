import cython
from libc.stdint cimport uint64_t

from .octets cimport Layout

cdef extern from *:
    """
    #ifndef BLOCKLIST_SIPHASH
    #define BLOCKLIST_SIPHASH
    #include <stdint.h>

    #define BLOCKLIST_TURN(word, bits) ((word) << (bits) | (word) >> (64 - (bits)))
    #define BLOCKLIST_ROUND \\
        v0 += v1; v2 += v3; \\
        v1 = BLOCKLIST_TURN(v1, 13) ^ v0; v3 = BLOCKLIST_TURN(v3, 16) ^ v2; v0 = BLOCKLIST_TURN(v0, 32); \\
        v2 += v1; v0 += v3; \\
        v1 = BLOCKLIST_TURN(v1, 17) ^ v2; v3 = BLOCKLIST_TURN(v3, 21) ^ v0; v2 = BLOCKLIST_TURN(v2, 32);

    /* `size` octets from `at` on are readable, and two words from `out` on (one for 64 bits of output) writable: the
       caller has checked it. `wide` is a constant of each caller, which is compiled for it. */
    static inline __attribute__((always_inline)) void blocklist_siphash_of(
        uint64_t k0, uint64_t k1, const unsigned char *at, Py_ssize_t size, uint64_t *out, int wide
    ) {
        uint64_t v0 = k0 ^ 0x736F6D6570736575ULL, v1 = k1 ^ 0x646F72616E646F6DULL ^ (wide ? 0xEE : 0);
        uint64_t v2 = k0 ^ 0x6C7967656E657261ULL, v3 = k1 ^ 0x7465646279746573ULL;
        uint64_t word, last = (uint64_t) (size & 255) << 56;
        int rest;
        for (; size >= 8; size -= 8, at += 8) {
            __builtin_memcpy(&word, at, 8);
    #if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
            word = __builtin_bswap64(word);
    #endif
            v3 ^= word;
            BLOCKLIST_ROUND BLOCKLIST_ROUND
            v0 ^= word;
        }
        for (rest = 0; rest < (int) size; rest++)
            last |= (uint64_t) at[rest] << 8 * rest;
        v3 ^= last;
        BLOCKLIST_ROUND BLOCKLIST_ROUND
        v0 ^= last;
        v2 ^= wide ? 0xEE : 0xFF;
        BLOCKLIST_ROUND BLOCKLIST_ROUND BLOCKLIST_ROUND BLOCKLIST_ROUND
        out[0] = v0 ^ v1 ^ v2 ^ v3;
        if (!wide)
            return;
        v1 ^= 0xDD;
        BLOCKLIST_ROUND BLOCKLIST_ROUND BLOCKLIST_ROUND BLOCKLIST_ROUND
        out[1] = v0 ^ v1 ^ v2 ^ v3;
    }

    static inline void blocklist_siphash(
        uint64_t k0, uint64_t k1, const unsigned char *at, Py_ssize_t size, uint64_t *out
    ) {
        blocklist_siphash_of(k0, k1, at, size, out, 1);
    }

    static inline uint64_t blocklist_siphash64(uint64_t k0, uint64_t k1, const unsigned char *at, Py_ssize_t size) {
        uint64_t out;
        blocklist_siphash_of(k0, k1, at, size, &out, 0);
        return out;
    }
    #endif
    """
    void blocklist_siphash(
        uint64_t k0, uint64_t k1, const unsigned char *at, Py_ssize_t size, uint64_t *out
    ) noexcept nogil
    uint64_t blocklist_siphash64(
        uint64_t k0, uint64_t k1, const unsigned char *at, Py_ssize_t size
    ) noexcept nogil

cdef uint64_t _ONE

cpdef int siphash128(
    const uint64_t[::1] key, const unsigned char[::1] data, Py_ssize_t start, Py_ssize_t end,
    uint64_t[::1] out, Py_ssize_t at,
) except -1 nogil

cpdef uint64_t siphash64(
    const uint64_t[::1] keys, Py_ssize_t number, const unsigned char[::1] data, Py_ssize_t start, Py_ssize_t end
) except? 0xFFFFFFFFFFFFFFFE nogil

@cython.locals(place=Py_ssize_t, start=Py_ssize_t, depth=int)
cpdef Py_ssize_t digest_names(
    const uint64_t[::1] key, const unsigned char[::1] names, Py_ssize_t at, uint64_t[::1] out,
) except -1 nogil
