/* Calls the kernels of aarch64 as ctypes does, under qemu-user, where there is no Python.
 *
 * On standard input come a library as it lies in memory, its size first, and then calls. It is the library that ships: it
 * needs no loader. There is no C library here either, so that this is compiled in a moment.
 */
#include <stddef.h>
#include <stdint.h>

enum { READ = 63, WRITE = 64, EXIT = 93, MPROTECT = 226, ARGUMENTS = 8 };

/* An argument is a number, or where `bytes` says so points into a buffer: of that many bytes that follow the call, or,
 * where negative, of that many that are written when it has returned. Each buffer ends where the kernel's business does.
 *
 * Numbers and pointers are passed in other registers than floats (AAPCS64, 6.8.2), so that their order among each other
 * does not matter.
 */
struct call {
    int64_t place, argument[ARGUMENTS], bytes[ARGUMENTS];
    float share[2];
};
typedef void (*function)(long, long, long, long, long, long, long, long, float, float);

static _Alignas(1 << 16) char image[1 << 18], arena[1 << 26];

static long ask(long number, long first, long second, long third) {
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = first;
    register long x1 __asm__("x1") = second, x2 __asm__("x2") = third;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
}

static void stop(int code) {
    ask(EXIT, code, 0, 0);
    __builtin_unreachable();
}

/* Whether there was as much; nothing at all is the end. */
static int take(void *target, size_t bytes) {
    size_t taken = 0;
    while (taken < bytes) {
        const long got = ask(READ, 0, (long)target + taken, bytes - taken);
        if (got == 0 && taken == 0) return 0;
        if (got <= 0) stop(3);
        taken += got;
    }
    return 1;
}

static void give(const void *source, size_t bytes) {
    for (size_t given = 0; given < bytes;) {
        const long got = ask(WRITE, 1, (long)source + given, bytes - given);
        if (got <= 0) stop(4);
        given += got;
    }
}

static void answer(const struct call *call) {
    long passed[ARGUMENTS];
    char *room = arena;
    for (int i = 0; i < ARGUMENTS; i++) {
        const int64_t bytes = call->bytes[i] < 0 ? -call->bytes[i] : call->bytes[i];
        passed[i] = bytes ? (long)room + call->argument[i] : call->argument[i];
        if (room + bytes > arena + sizeof arena) stop(5);
        if (call->bytes[i] > 0 && !take(room, bytes)) stop(6);
        room += (bytes + 63) / 64 * 64;
    }
    const function kernel = (function)(void *)(image + call->place);
    kernel(passed[0], passed[1], passed[2], passed[3], passed[4], passed[5], passed[6], passed[7], call->share[0],
           call->share[1]);
    for (int i = 0; i < ARGUMENTS; i++)
        if (call->bytes[i] < 0) give((const void *)passed[i], -call->bytes[i]);
}

void _start(void) {
    int64_t bytes;
    struct call call;
    if (!take(&bytes, sizeof bytes) || bytes > (int64_t)sizeof image || !take(image, bytes)) stop(7);
    /* A real processor's instruction cache would have to be told, too. */
    if (ask(MPROTECT, (long)image, sizeof image, 1 | 2 | 4) != 0) stop(8);
    while (take(&call, sizeof call)) answer(&call);
    stop(0);
}
