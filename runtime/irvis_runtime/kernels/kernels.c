/* What NumPy and OpenCV do too slowly for every frame. Plain C without a C library, for x86-64 and aarch64.
 *
 * Pictures are rows of bytes, `stride` bytes from row to row, which may be negative or zero. Whoever calls checks
 * sizes: see library.py, warp.py.
 */
#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <tmmintrin.h>
#define VECTORS __attribute__((target("ssse3")))
#elif defined(__aarch64__)
#include <arm_neon.h>
#define VECTORS
#else
#error "kernels.c: expected x86-64 or aarch64; irvis runs without it, on NumPy and OpenCV"
#endif

/* Sixteen levels, and wider for what is made of them. */
typedef uint8_t bytes __attribute__((vector_size(16), aligned(1)));
typedef uint16_t words __attribute__((vector_size(32)));
typedef uint32_t longs __attribute__((vector_size(64), aligned(4)));

/* Of this file's functions; library.py refuses another one than its own. */
#define INTERFACE 2

int irvis_kernels_interface(void) { return INTERFACE; }

/* Whether this CPU has the instructions: SSSE3, which an x86-64 made before 2006 or a bare emulator lacks. */
int irvis_kernels_run_here(void) {
#if defined(__x86_64__)
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSSE3);
#else
    return 1;
#endif
}

/* Eight pixels between those of three rows of 16: see warp.py for the map's three times eight bytes.
 *
 * Both versions round alike: (a * b + 2^14) >> 15 with four bits to spare, then those bits.
 */
#if defined(__x86_64__)
VECTORS static inline void eight_pixels(const uint8_t *source, ptrdiff_t stride, const uint8_t *map, uint8_t *target) {
    const __m128i zero = _mm_setzero_si128(), one = _mm_set1_epi8(1), whole8 = _mm_set1_epi8(64);
    const __m128i whole = _mm_set1_epi16(64);
    const __m128i left = _mm_loadl_epi64((const void *)map);
    const __m128i right_share = _mm_loadl_epi64((const void *)(map + 8));
    const __m128i depth = _mm_unpacklo_epi8(_mm_loadl_epi64((const void *)(map + 16)), zero);
    const __m128i pairs = _mm_unpacklo_epi8(left, _mm_add_epi8(left, one));
    const __m128i shares = _mm_unpacklo_epi8(_mm_sub_epi8(whole8, right_share), right_share);
    __m128i share[3], sum = _mm_set1_epi16(8);
    share[0] = _mm_max_epi16(_mm_sub_epi16(whole, depth), zero);
    share[2] = _mm_max_epi16(_mm_sub_epi16(depth, whole), zero);
    share[1] = _mm_sub_epi16(_mm_sub_epi16(whole, share[0]), share[2]);
    for (int row = 0; row < 3; row++) {
        const __m128i pixels = _mm_loadu_si128((const void *)(source + row * stride));
        const __m128i across = _mm_maddubs_epi16(_mm_shuffle_epi8(pixels, pairs), shares);
        sum = _mm_add_epi16(sum, _mm_mulhrs_epi16(across, _mm_slli_epi16(share[row], 7)));
    }
    sum = _mm_srli_epi16(sum, 4);
    _mm_storel_epi64((void *)target, _mm_packus_epi16(sum, sum));
}
#else
static inline void eight_pixels(const uint8_t *source, ptrdiff_t stride, const uint8_t *map, uint8_t *target) {
    const int16x8_t zero = vdupq_n_s16(0), whole = vdupq_n_s16(64);
    const uint8x8_t left = vld1_u8(map), right_share = vld1_u8(map + 8);
    const uint8x8_t right = vadd_u8(left, vdup_n_u8(1)), left_share = vsub_u8(vdup_n_u8(64), right_share);
    const int16x8_t depth = vreinterpretq_s16_u16(vmovl_u8(vld1_u8(map + 16)));
    int16x8_t share[3], sum = vdupq_n_s16(8);
    share[0] = vmaxq_s16(vsubq_s16(whole, depth), zero);
    share[2] = vmaxq_s16(vsubq_s16(depth, whole), zero);
    share[1] = vsubq_s16(vsubq_s16(whole, share[0]), share[2]);
    for (int row = 0; row < 3; row++) {
        const uint8x16_t pixels = vld1q_u8(source + row * stride);
        uint16x8_t across = vmull_u8(vqtbl1_u8(pixels, left), left_share);
        across = vmlal_u8(across, vqtbl1_u8(pixels, right), right_share);
        sum = vaddq_s16(sum, vqrdmulhq_s16(vreinterpretq_s16_u16(across), vshlq_n_s16(share[row], 7)));
    }
    vst1_u8(target, vqmovun_s16(vshrq_n_s16(sum, 4)));
}
#endif

/* Fills height x width bytes from the source: `starts` has a row and a column, `maps` 24 bytes, for each eight. */
VECTORS void irvis_warp(const uint8_t *source, ptrdiff_t stride, const uint16_t *starts, const uint8_t *maps,
                        int height, int width, uint8_t *target) {
    const int blocks = (width + 7) / 8;
    for (int y = 0; y < height; y++, target += width)
        for (int block = 0; block < blocks; block++, starts += 2, maps += 24) {
            /* The last block of a row begins earlier where the width is no multiple of eight. */
            const int x = block < width / 8 ? 8 * block : width - 8;
            eight_pixels(source + starts[0] * stride + starts[1], stride, maps, target + x);
        }
}

/* One line of 64 means' rows: the sum of the picture's rows from `first` to `last`, both in 64ths of a row. */
static void sum_rows(const uint8_t *picture, ptrdiff_t stride, int width, int first, int last, uint32_t *sums) {
    const int top = first / 64, bottom = (last - 1) / 64;
    /* Of a single row both shares are of it. */
    const uint16_t head_share = top == bottom ? last - first : 64 * (top + 1) - first;
    const uint16_t tail_share = top == bottom ? 0 : last - 64 * bottom;
    const uint8_t *head = picture + top * stride, *tail = picture + bottom * stride;
    int x = 0;
    for (; x + 16 <= width; x += 16) {
        words whole = {};
        const uint8_t *row = head + x;
        for (int y = top + 1; y < bottom; y++) {
            row += stride;
            whole += __builtin_convertvector(*(const bytes *)row, words);
        }
        const words ends = head_share * __builtin_convertvector(*(const bytes *)(head + x), words) +
                           tail_share * __builtin_convertvector(*(const bytes *)(tail + x), words);
        *(longs *)(sums + x) = 64 * __builtin_convertvector(whole, longs) + __builtin_convertvector(ends, longs);
    }
    for (; x < width; x++) {
        sums[x] = head_share * head[x] + tail_share * tail[x];
        for (int y = top + 1; y < bottom; y++) sums[x] += 64u * picture[y * stride + x];
    }
}

/* 64 x 64 means of equal parts of the picture, fractions of pixels included; exact until the last division.
 *
 * `sums` has room for a row and one more. The picture has up to 2^24 pixels: sums wrap, differences do not; and up
 * to 2^14 rows, 256 to a part: their whole ones fit 16 bits.
 */
void irvis_area_means(const uint8_t *picture, ptrdiff_t stride, int height, int width, uint32_t *sums,
                      float *means) {
    const double share = 1.0 / ((double)height * width);
    sums[width] = 0;
    for (int i = 0; i < 64; i++) {
        sum_rows(picture, stride, width, i * height, (i + 1) * height, sums);
        uint32_t before = 0, whole = 0;
        for (int j = 0, x = 0; j < 64; j++) {
            /* All to the left of the part's end, which lies between or in pixels; less what was before it. */
            const int end = (j + 1) * width, last = end / 64;
#pragma clang loop vectorize(disable)
            for (; x < last; x++) whole += sums[x];
            const uint32_t until = 64 * whole + (uint32_t)(end % 64) * sums[x];
            means[64 * i + j] = (float)((until - before) * share);
            before = until;
        }
    }
}

/* A camera's buffer may begin at any byte. */
typedef uint16_t any_uint16 __attribute__((aligned(1), may_alias));

/* Each count's entry of a table of 65536. `stride` is in bytes here, too. */
void irvis_look_up(const uint8_t *counts, ptrdiff_t stride, int height, int width, const uint8_t *table,
                   uint8_t *target) {
    for (int y = 0; y < height; y++, counts += stride, target += width) {
        const any_uint16 *row = (const any_uint16 *)counts;
        for (int x = 0; x < width; x++) target[x] = table[row[x]];
    }
}

/* factor / 65536 of sixteen levels, rounded; the factors here have no result half-way between two. */
static inline bytes part_of(bytes levels, uint32_t factor) {
    const longs product = __builtin_convertvector(__builtin_convertvector(levels, words) << 8, longs) * factor;
    return __builtin_convertvector((__builtin_convertvector(product >> 16, words) + 128) >> 8, bytes);
}

/* Luma from 16..235 to 0..255, with what lies outside clamped: 255 / 219 d is d + 0.16438 d. */
static inline bytes to_full(bytes limited) {
    const bytes above = __builtin_elementwise_sub_sat(limited, (bytes){} + 16);
    return __builtin_elementwise_add_sat(above, part_of(above, 10774));
}

/* And back: 16 + 219 / 255 f is 16 + f - 0.14118 f. */
static inline bytes to_limited(bytes full) { return 16 + full - part_of(full, 9252); }

#define BY_SIXTEEN(name, one)                                                                              \
    void name(const uint8_t *source, ptrdiff_t stride, int height, int width, uint8_t *target) {           \
        for (int y = 0; y < height; y++, source += stride, target += width) {                              \
            int x = 0;                                                                                     \
            for (; x + 16 <= width; x += 16) *(bytes *)(target + x) = one(*(const bytes *)(source + x));   \
            bytes rest = {};                                                                               \
            for (int i = 0; x + i < width; i++) rest[i] = source[x + i];                                   \
            rest = one(rest);                                                                              \
            for (int i = 0; x + i < width; i++) target[x + i] = rest[i];                                   \
        }                                                                                                  \
    }

BY_SIXTEEN(irvis_to_full_range, to_full)
BY_SIXTEEN(irvis_to_limited_range, to_limited)

/* One step of two exponential stages in series: `left` of the distance to the goal stays, see context.py. */
void irvis_follow(const float *goal, const float *first, const float *second, float elapsed, float left, int count,
                  float *next_first, float *next_second) {
    for (int i = 0; i < count; i++) {
        const float ahead = first[i] - goal[i];
        next_first[i] = goal[i] + left * ahead;
        next_second[i] = goal[i] + left * (second[i] - goal[i] + elapsed * ahead);
    }
}

/* For both thumbnails of 64 x 64: which 8 x 8 blocks of theirs can be compared, and which of those are unalike.
 *
 * Counts, for each thumbnail two, comparable and unalike: see cut.py. `least` is of the sum of squares about
 * the block's mean, `alike` of the correlation.
 */
void irvis_compare_blocks(const float *now, const float *before, float least, float alike, int *counts) {
    for (int thumbnail = 0; thumbnail < 2; thumbnail++, now += 4096, before += 4096, counts += 2) {
        counts[0] = counts[1] = 0;
        for (int block = 0; block < 64; block++) {
            const int start = block / 8 * 8 * 64 + block % 8 * 8;
            double n = 0, b = 0, nn = 0, bb = 0, nb = 0;
            for (int i = 0; i < 64; i++) {
                const double one = now[start + i / 8 * 64 + i % 8], two = before[start + i / 8 * 64 + i % 8];
                n += one, b += two, nn += one * one, bb += two * two, nb += one * two;
            }
            nn -= n * n / 64, bb -= b * b / 64, nb -= n * b / 64;
            if (nn <= least || bb <= least) continue;
            counts[0]++;
            /* nb < alike sqrt(nn bb), without a square root. */
            counts[1] += nb < 0 || nb * nb < (double)alike * alike * nn * bb;
        }
    }
}
