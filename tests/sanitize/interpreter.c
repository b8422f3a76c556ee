/* Python, linked with a sanitizer and with libFuzzer: what it loads finds the functions of both in this program. */

#define _GNU_SOURCE
#include <Python.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

const char *__asan_default_options(void)
{
    return "detect_leaks=0:abort_on_error=1:detect_stack_use_after_return=1:malloc_context_size=8";
}

const char *__ubsan_default_options(void) { return "print_stacktrace=1"; }

/* Found before the C library's. A bound on addresses would end an address sanitizer, whose shadow is larger. */
int setrlimit(__rlimit_resource_t which, const struct rlimit *limits)
{
    return which == RLIMIT_AS ? 0 : (int)syscall(SYS_prlimit64, 0, which, limits, NULL);
}

int main(int count, char **arguments)
{
    setenv("PYTHONMALLOC", "malloc", 0);
    return Py_BytesMain(count, arguments);
}
