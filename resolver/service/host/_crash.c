/* The report of a crash of compiled code, written from the signal handler with write(2) alone.
 *
 * Rules:
 * - All that the handler needs is prepared by watch(): the loaded objects with their build ids, the functions of our
 *   own objects (which are static, so that dladdr does not know them), the unwinder, a stack of its own.
 * - It writes numbers, and names of objects and functions. No memory that a packet ever was in is read.
 * - Each thread that reads packets has numbers of its own; the report shows those of the thread that crashed. For a
 *   thread without any it shows those of the thread that was the first to ask for numbers.
 * - Then the action from before is restored and the signal raised again: faulthandler's, then the default.
 * - If the report blocks (on a lock of the loader, say), an alarm ends the process after five seconds.
 */

#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#if __has_include(<execinfo.h>)
#include <execinfo.h>
#else /* a C library without it (musl): the report names the place alone */
static int backtrace(void **frames, int size) {
    (void)frames, (void)size;
    return 0;
}
#endif

#define OBJECTS 256
#define FRAMES 64
#define NUMBERS 8
#define THREADS 256
#define PATIENCE_S 5
#define STACK_OCTETS (256 * 1024)

struct object {
    uintptr_t start, end, bias;
    char name[96];
    char build[41];
    ElfW(Sym) *symbols;
    size_t count;
    char *strings;
    size_t strings_size;
};

static const int SIGNALS[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
static const char *const NAMES[] = {"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT"};
static const char *const LABELS[NUMBERS] = {
    "octets ", ", stream ", ", reply ", ", qtype ", ", qclass ", ", labels ", ", flags ", ", edns "};
#define SIGNAL_COUNT (sizeof SIGNALS / sizeof *SIGNALS)

/* One line of a processor's cache each: threads do not wait for one another's. */
_Alignas(64) static int64_t shapes[THREADS][NUMBERS];
static pid_t owners[THREADS]; /* 0: nobody's; they stay with a thread, and with a later one of its id */
static struct object objects[OBJECTS];
static int object_count;
static struct sigaction before[SIGNAL_COUNT];
static char version[32];
static char alternate[STACK_OCTETS];
static int entered;

/* A line, built without stdio. */
struct line {
    char text[512];
    size_t used;
};

static void text(struct line *line, const char *from) {
    while (*from && line->used < sizeof line->text - 1) line->text[line->used++] = *from++;
}

static void number(struct line *line, uint64_t value, unsigned base) {
    char digits[24];
    int at = sizeof digits;
    digits[--at] = 0;
    do {
        digits[--at] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    text(line, digits + at);
}

static void end_line(struct line *line) {
    line->text[line->used++] = '\n';
    size_t sent = 0;
    while (sent < line->used) {
        ssize_t done = write(STDERR_FILENO, line->text + sent, line->used - sent);
        if (done <= 0) break;
        sent += (size_t)done;
    }
    line->used = 0;
}

static struct object *object_of(uintptr_t address) {
    for (int i = 0; i < object_count; i++)
        if (objects[i].start <= address && address < objects[i].end) return &objects[i];
    return NULL;
}

/* The function of ours around an address, NULL if none is known. */
static const char *function_of(const struct object *object, uintptr_t address, uintptr_t *offset) {
    uintptr_t at = address - object->bias;
    for (size_t i = 0; i < object->count; i++) {
        const ElfW(Sym) *symbol = &object->symbols[i];
        if (symbol->st_value <= at && at < symbol->st_value + symbol->st_size &&
            symbol->st_name < object->strings_size) {
            *offset = at - symbol->st_value;
            return object->strings + symbol->st_name;
        }
    }
    return NULL;
}

static void frame(int depth, uintptr_t address, int is_return) {
    struct line line = {.used = 0};
    /* A return address may be the first octet after its function. */
    uintptr_t inside = address - (is_return ? 1 : 0), offset = 0;
    const struct object *object = object_of(inside);
    const char *function = object ? function_of(object, inside, &offset) : NULL;
    Dl_info info;
    if (!function && object && dladdr((void *)inside, &info) && info.dli_sname) {
        function = info.dli_sname;
        offset = inside - (uintptr_t)info.dli_saddr;
    }
    text(&line, "  #");
    number(&line, (uint64_t)depth, 10);
    text(&line, " ");
    text(&line, object ? object->name : "(no object)");
    if (object) {
        text(&line, " ");
        text(&line, function ? function : "(no function)");
        if (function) {
            text(&line, "+0x");
            number(&line, offset + (is_return ? 1 : 0), 16);
        }
        text(&line, " at 0x");
        number(&line, address - object->bias, 16);
    }
    end_line(&line);
}

static uintptr_t place(void *context) {
#if defined(__x86_64__)
    return (uintptr_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return (uintptr_t)((ucontext_t *)context)->uc_mcontext.pc;
#else
    (void)context;
    return 0;
#endif
}

static void stack(void *context) {
    void *frames[FRAMES];
    int count = backtrace(frames, FRAMES), first = 0;
    uintptr_t pc = place(context);
    for (int i = 0; i < count; i++)
        if ((uintptr_t)frames[i] == pc) first = i;
    if (first == 0 && pc) frame(0, pc, 0);
    for (int i = first; i < count; i++) frame(i - first, (uintptr_t)frames[i], i != first);
    for (int i = 0; i < object_count; i++) {
        int involved = 0;
        for (int j = first; j < count; j++) involved |= object_of((uintptr_t)frames[j]) == &objects[i];
        if (!involved) continue;
        struct line line = {.used = 0};
        text(&line, "  build id of ");
        text(&line, objects[i].name);
        text(&line, ": ");
        text(&line, objects[i].build[0] ? objects[i].build : "none");
        end_line(&line);
    }
}

/* The numbers of this thread, NULL if it has none. */
static int64_t *numbers_here(void) {
    pid_t here = (pid_t)syscall(SYS_gettid);
    for (int i = 0; i < THREADS; i++)
        if (__atomic_load_n(&owners[i], __ATOMIC_ACQUIRE) == here) return shapes[i];
    return NULL;
}

static void report(const char *name, void *context) {
    const int64_t *shape = numbers_here();
    if (!shape) shape = shapes[0];
    struct line line = {.used = 0};
    text(&line, "blocklist-resolver ");
    text(&line, version);
    text(&line, ": ended by ");
    text(&line, name);
    end_line(&line);
    text(&line, "  packet: ");
    for (int i = 0; i < NUMBERS; i++) {
        text(&line, LABELS[i]);
        if (shape[i] < 0)
            text(&line, "unknown");
        else
            number(&line, (uint64_t)shape[i], 10);
    }
    end_line(&line);
    stack(context);
}

static void on_signal(int signum, siginfo_t *info, void *context) {
    (void)info;
    if (__atomic_exchange_n(&entered, 1, __ATOMIC_SEQ_CST))
        for (;;) pause(); /* another thread is writing; it ends us all */
    struct sigaction ending = {.sa_handler = SIG_DFL};
    sigset_t alarms;
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    sigaction(SIGALRM, &ending, NULL);
    sigprocmask(SIG_UNBLOCK, &alarms, NULL);
    alarm(PATIENCE_S);
    for (size_t i = 0; i < SIGNAL_COUNT; i++)
        if (SIGNALS[i] == signum) report(NAMES[i], context);
    for (size_t i = 0; i < SIGNAL_COUNT; i++) sigaction(SIGNALS[i], &before[i], NULL);
    raise(signum);
}

static ssize_t whole(int file, void *into, size_t size, off_t at) {
    return pread(file, into, size, at) == (ssize_t)size ? 0 : -1;
}

/* Copy what is needed of the table of symbols; without one the object shows offsets alone. */
static void read_symbols(struct object *object, const char *path) {
    ElfW(Ehdr) header;
    ElfW(Shdr) table, names;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    if (whole(file, &header, sizeof header, 0) || memcmp(header.e_ident, ELFMAG, SELFMAG)) goto done;
    for (int i = 0; i < header.e_shnum; i++) {
        if (whole(file, &table, sizeof table, (off_t)(header.e_shoff + (size_t)i * sizeof table))) goto done;
        if (table.sh_type == SHT_SYMTAB) break;
    }
    if (header.e_shnum == 0 || table.sh_type != SHT_SYMTAB || table.sh_link >= header.e_shnum) goto done;
    if (whole(file, &names, sizeof names, (off_t)(header.e_shoff + table.sh_link * sizeof names))) goto done;
    ElfW(Sym) *symbols = malloc(table.sh_size);
    char *strings = malloc(names.sh_size + 1);
    if (!symbols || !strings || whole(file, symbols, table.sh_size, (off_t)table.sh_offset) ||
        whole(file, strings, names.sh_size, (off_t)names.sh_offset)) {
        free(symbols);
        free(strings);
        goto done;
    }
    strings[names.sh_size] = 0;
    object->symbols = symbols;
    object->strings = strings;
    object->strings_size = names.sh_size;
    for (size_t i = 0; i < table.sh_size / sizeof *symbols; i++)
        if (ELF64_ST_TYPE(symbols[i].st_info) == STT_FUNC && symbols[i].st_size) symbols[object->count++] = symbols[i];
done:
    close(file);
}

static void read_build(struct object *object, uintptr_t at, size_t size) {
    uintptr_t end = at + size;
    while (at + sizeof(ElfW(Nhdr)) <= end) {
        const ElfW(Nhdr) *note = (const ElfW(Nhdr) *)at;
        uintptr_t name = at + sizeof *note, content = name + ((note->n_namesz + 3u) & ~3u);
        at = content + ((note->n_descsz + 3u) & ~3u);
        if (note->n_type != NT_GNU_BUILD_ID || at > end || note->n_namesz != 4 || memcmp((void *)name, "GNU", 4)) continue;
        const unsigned char *octets = (const unsigned char *)content;
        for (unsigned i = 0; i < note->n_descsz && i < 20; i++) {
            object->build[2 * i] = "0123456789abcdef"[octets[i] >> 4];
            object->build[2 * i + 1] = "0123456789abcdef"[octets[i] & 15];
        }
        return;
    }
}

static int remember(struct dl_phdr_info *info, size_t size, void *unused) {
    (void)size, (void)unused;
    if (object_count == OBJECTS) return 1;
    struct object *object = &objects[object_count];
    const char *path = info->dlpi_name && *info->dlpi_name ? info->dlpi_name : "python";
    const char *slash = strrchr(path, '/');
    memset(object, 0, sizeof *object);
    strncpy(object->name, slash ? slash + 1 : path, sizeof object->name - 1);
    object->bias = info->dlpi_addr;
    object->start = UINTPTR_MAX;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        uintptr_t at = info->dlpi_addr + part->p_vaddr;
        if (part->p_type == PT_LOAD && at < object->start) object->start = at;
        if (part->p_type == PT_LOAD && at + part->p_memsz > object->end) object->end = at + part->p_memsz;
        if (part->p_type == PT_NOTE && !object->build[0]) read_build(object, at, part->p_memsz);
    }
    if (object->start >= object->end) return 0;
    if (strstr(path, "/resolver/")) read_symbols(object, path);
    object_count++;
    return 0;
}

static PyObject *watch(PyObject *self, PyObject *argument) {
    (void)self;
    const char *said = PyUnicode_AsUTF8(argument);
    if (!said) return NULL;
    if (object_count) {
        PyErr_SetString(PyExc_RuntimeError, "watched already");
        return NULL;
    }
    strncpy(version, said, sizeof version - 1);
    void *primed[1];
    backtrace(primed, 1); /* the first call loads the unwinder, and memory is allocated for it */
    dl_iterate_phdr(remember, NULL);
    stack_t own = {.ss_sp = alternate, .ss_size = sizeof alternate};
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigfillset(&action.sa_mask);
    sigdelset(&action.sa_mask, SIGALRM);
    if (sigaltstack(&own, NULL)) return PyErr_SetFromErrno(PyExc_OSError);
    for (size_t i = 0; i < SIGNAL_COUNT; i++)
        if (sigaction(SIGNALS[i], &action, &before[i])) return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

static PyObject *memory(PyObject *self, PyObject *unused) {
    (void)self, (void)unused;
    int64_t *shape = numbers_here();
    for (int i = 0; i < THREADS && !shape; i++) { /* the GIL is held: no other thread takes the same */
        if (owners[i]) continue;
        shape = shapes[i];
        __atomic_store_n(&owners[i], (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
    }
    if (!shape) {
        PyErr_SetString(PyExc_RuntimeError, "too many threads");
        return NULL;
    }
    return PyMemoryView_FromMemory((char *)shape, sizeof shapes[0], PyBUF_WRITE);
}

static PyMethodDef methods[] = {
    {"watch", watch, METH_O, "Report a crash from now on; the version is part of it."},
    {"memory", memory, METH_NOARGS, "The numbers of the shape of this thread's packet."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_crash", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__crash(void) {
    memset(shapes, 0xFF, sizeof shapes); /* -1 everywhere */
    return PyModule_Create(&module);
}
