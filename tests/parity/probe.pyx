# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Gives Python what core has inline in .pxd files, as a compiled module meets it."""

from resolver.core.octets cimport Layout
from resolver.core cimport octets


def copy(unsigned char[::1] out, Py_ssize_t to, const unsigned char[::1] data, Py_ssize_t at, Py_ssize_t size):
    with nogil:
        octets.copy(out, to, data, at, size)


def equal(
    const unsigned char[::1] one, Py_ssize_t at, const unsigned char[::1] other, Py_ssize_t start, Py_ssize_t size
):
    return octets.equal(one, at, other, start, size)


def compare16(const unsigned char[::1] one, Py_ssize_t at, const unsigned char[::1] other, Py_ssize_t start):
    return octets.compare16(one, at, other, start)


def get(const unsigned char[::1] data, Py_ssize_t at, int size):
    return octets.get(data, at, size)


def put(unsigned char[::1] out, Py_ssize_t at, unsigned long long value, int size):
    octets.put(out, at, value, size)


def lower(unsigned char[::1] out, Py_ssize_t at, Py_ssize_t size):
    octets.lower(out, at, size)
