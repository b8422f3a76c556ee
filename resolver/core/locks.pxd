from libc.stdint cimport uint64_t

from .octets cimport Layout

cdef extern from *:
    """
    #include <sched.h>
    #include <stdint.h>

    #if defined(__x86_64__) || defined(__i386__)
    #define BLOCKLIST_PAUSE() __builtin_ia32_pause()
    #else
    #define BLOCKLIST_PAUSE() ((void) 0)
    #endif

    static inline int blocklist_try(uint64_t *word) {
        return __atomic_exchange_n(word, 1, __ATOMIC_ACQUIRE) == 0;
    }

    /* The thread that holds it needs a few steps more, unless the kernel has stopped that thread: let it run. */
    static inline void blocklist_hold(uint64_t *word) {
        int turns = 0;
        while (!blocklist_try(word)) {
            while (__atomic_load_n(word, __ATOMIC_RELAXED)) {
                if (++turns % 128 == 0)
                    sched_yield();
                BLOCKLIST_PAUSE();
            }
        }
    }

    static inline void blocklist_release(uint64_t *word) {
        __atomic_store_n(word, 0, __ATOMIC_RELEASE);
    }

    static inline void blocklist_fence_before_writes(void) {
        __atomic_thread_fence(__ATOMIC_RELEASE);
    }

    static inline void blocklist_fence_after_reads(void) {
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
    }

    /* A period and a count in one word: `period` above 32 bits. */
    static inline void blocklist_count_in(uint64_t *word, uint64_t period) {
        uint64_t old = __atomic_load_n(word, __ATOMIC_RELAXED), fresh;
        do
            fresh = old >> 32 < period ? period << 32 | 1 : old + 1;
        while (!__atomic_compare_exchange_n(word, &old, fresh, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    }
    """
    int blocklist_try(uint64_t *word) noexcept nogil
    void blocklist_hold(uint64_t *word) noexcept nogil
    void blocklist_release(uint64_t *word) noexcept nogil
    void blocklist_fence_before_writes() noexcept nogil
    void blocklist_fence_after_reads() noexcept nogil
    void blocklist_count_in(uint64_t *word, uint64_t period) noexcept nogil

cdef class Locks:
    cdef readonly uint64_t[::1] words
    cdef readonly uint64_t mask

cdef inline void hold(Locks locks, uint64_t shard) noexcept nogil:
    blocklist_hold(&locks.words[8 * (shard & locks.mask)])

cdef inline bint try_to_hold(Locks locks, uint64_t shard) noexcept nogil:
    return blocklist_try(&locks.words[8 * (shard & locks.mask)])

cdef inline void release(Locks locks, uint64_t shard) noexcept nogil:
    blocklist_release(&locks.words[8 * (shard & locks.mask)])

cdef inline int count_in(uint64_t[::1] counted, uint64_t period) except -1 nogil:
    blocklist_count_in(&counted[0], period)
    return 0

cdef inline void fence_before_writes() noexcept nogil:
    blocklist_fence_before_writes()

cdef inline void fence_after_reads() noexcept nogil:
    blocklist_fence_after_reads()
