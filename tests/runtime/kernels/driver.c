/* Calls the kernels as ctypes does, where there is no Python: on aarch64 under qemu-user, and under sanitizers.
 *
 * On standard input come a library as it lies in memory (its size, where in it the functions are, in the order of
 * `enum`, and its bytes), then calls: a `struct call`, the source, and what else the kernel reads. Results go out as they
 * are. Each buffer is as long as it has to be, and no longer.
 *
 * With -DHOSTED kernels.c is linked in, the library empty, and the C library serves. Else there is none, so that this
 * is compiled in a moment, and what is called is the library that ships.
 */
#include <stddef.h>
#include <stdint.h>

enum { INTERFACE, RUN_HERE, WARP, AREA_MEANS, LOOK_UP, FUNCTIONS };
/* `first` is where the first pixel lies among the `source_bytes`. Little endian, as both machines are. */
struct call {
    int64_t kind, stride, height, width, first, source_bytes;
};

int irvis_kernels_interface(void);
int irvis_kernels_run_here(void);
void irvis_warp(const uint8_t *, ptrdiff_t, const uint16_t *, const uint8_t *, int, int, uint8_t *);
void irvis_area_means(const uint8_t *, ptrdiff_t, int, int, uint32_t *, float *);
void irvis_look_up(const uint8_t *, ptrdiff_t, int, int, const uint8_t *, uint8_t *);

#ifdef HOSTED
#include <stdio.h>
#include <stdlib.h>

static void stop(int code) { exit(code); }
static size_t take(void *target, size_t bytes) { return fread(target, 1, bytes, stdin); }
static void give(const void *source, size_t bytes) { fwrite(source, 1, bytes, stdout); }
static void *room(size_t bytes) { return malloc(bytes); }
static void leave(void *memory) { free(memory); }
static void load(void) {
    int64_t none[1 + FUNCTIONS];
    take(none, sizeof none);
}
#define FIND(which, name) name
#else
enum { READ = 63, WRITE = 64, EXIT = 93, MPROTECT = 226 };
static _Alignas(1 << 16) char image[1 << 18], arena[1 << 26];
static size_t used;
static int64_t places[FUNCTIONS];

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

static size_t take(void *target, size_t bytes) {
    size_t taken = 0;
    for (long got = 1; taken < bytes && got > 0; taken += got)
        if ((got = ask(READ, 0, (long)target + taken, bytes - taken)) < 0) stop(3);
    return taken;
}

static void give(const void *source, size_t bytes) {
    for (size_t given = 0; given < bytes;) {
        const long got = ask(WRITE, 1, (long)source + given, bytes - given);
        if (got <= 0) stop(4);
        given += got;
    }
}

static void *room(size_t bytes) {
    char *memory = arena + used;
    used += (bytes + 15) / 16 * 16;
    if (used > sizeof arena) stop(5);
    return memory;
}

static void leave(void *memory) {
    (void)memory;
    used = 0;
}

static void load(void) {
    int64_t bytes;
    if (take(&bytes, sizeof bytes) != sizeof bytes || bytes > (int64_t)sizeof image) stop(6);
    if (take(places, sizeof places) != sizeof places || take(image, bytes) != (size_t)bytes) stop(7);
    if (ask(MPROTECT, (long)image, sizeof image, 1 | 2 | 4) != 0) stop(8);
    /* A real processor's instruction cache would have to be told; qemu sees it. */
}
#define FIND(which, name) ((__typeof__(&name))(void *)(image + places[which]))
#endif

static void *take_all(size_t bytes) {
    void *memory = room(bytes);
    if (take(memory, bytes) != bytes) stop(9);
    return memory;
}

static void answer(const struct call *call) {
    const int height = (int)call->height, width = (int)call->width;
    const size_t blocks = (size_t)height * ((width + 7) / 8);
    const size_t bytes = call->kind == AREA_MEANS ? 64 * 64 * sizeof(float) : (size_t)height * width;
    uint8_t *source = take_all(call->source_bytes), *first = source + call->first, *target = room(bytes);
    void *starts = NULL, *rest;
    if (call->kind == WARP) {
        starts = take_all(4 * blocks), rest = take_all(24 * blocks);
        FIND(WARP, irvis_warp)(first, call->stride, starts, rest, height, width, target);
    } else if (call->kind == AREA_MEANS) {
        rest = room((width + 1) * sizeof(uint32_t));
        FIND(AREA_MEANS, irvis_area_means)(first, call->stride, height, width, rest, (float *)(void *)target);
    } else {
        rest = take_all(65536);
        FIND(LOOK_UP, irvis_look_up)(first, call->stride, height, width, rest, target);
    }
    give(target, bytes);
    leave(source), leave(target), leave(starts), leave(rest);
}

int main(void) {
    load();
    const int told[] = {FIND(INTERFACE, irvis_kernels_interface)(), FIND(RUN_HERE, irvis_kernels_run_here)()};
    give(told, sizeof told);
    for (struct call call; take(&call, sizeof call) == sizeof call;) answer(&call);
    return 0;
}

#ifndef HOSTED
void _start(void) { stop(main()); }
#endif
