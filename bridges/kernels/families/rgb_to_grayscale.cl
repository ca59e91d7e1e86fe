/* rgb_to_grayscale: takes the luma Y' of each pixel, weighted by the picture's own matrix.
 * reads gray* ya8 ya16le yuv* yuyv422 nv?? p0??le p2??le p4??le uyvy422 yvyu422
 * reads rgb* bgr* 0rgb 0bgr argb abgr gbrp* gbrap*
 * writes gray* yuv4* yuvj4* yuva4* nv?? p0??le p2??le p4??le
 * kind gray
 *
 * Writes the first plane of the target and leaves the others alone. Luma whose codes stay what they
 * are takes the same way: CPU runtimes vectorise a bare copy worse. Compiled with
 *
 *   CHANNELS, PLANES      1 for luma, 3 for R, G, B; in how many planes they lie
 *   AT_0, AT_1, AT_2      samples from the start of a pixel to each channel
 *   STEP                  samples from one pixel to the next
 *   IN_BYTES, OUT_BYTES   of one sample: 1 or 2
 *   IN_SHIFT, OUT_SHIFT   unused low bits of a sample
 *   IN_MAX, OUT_MAX       the highest codes
 *   PIXELS                pixels per item of `_words`: a power of two
 *   FRACTION, WIDE        fractional bits of the weights; 1 where they need 64-bit sums
 *
 * Every entry point takes the same arguments. `columns` and `first` count items: one pixel each for
 * `_samples`, PIXELS for `_words`, which needs all rows to start at multiples of four bytes.
 */
#if WIDE
typedef i64 sum_t;
typedef u64 sum_u;
#else
typedef i32 sum_t;
typedef u32 sum_u;
#endif

/* Of unsigned 32-bit factors, so that a wide product takes one instruction and not three. */
#define PRODUCT(weight, sample) ((sum_t)((sum_u)(weight) * (sum_u)(sample)))

#if PLANES == 3
#define SOURCES                                                                                   \
    GLOBAL const u8 *source0, u32 stride0, GLOBAL const u8 *source1, u32 stride1,                 \
        GLOBAL const u8 *source2, u32 stride2
#else
#define SOURCES GLOBAL const u8 *source0, u32 stride0
#endif

#define ARGUMENTS                                                                                 \
    GLOBAL u8 *target, u32 stride, SOURCES, u32 first, u32 columns, u32 rows, u32 weight0,        \
        u32 weight1, u32 weight2, sum_t bias

/* The sum's floor, whose bias holds the half that makes it round; clamped to the code range. */
DEVICE u32 code(sum_t sum) {
    sum_t value = sum >> FRACTION;
    value = value < 0 ? 0 : value;
    value = value > OUT_MAX ? OUT_MAX : value;
    return (u32)value << OUT_SHIFT;
}

/* One pixel per item, a byte at a time: any address, any width. */
#if IN_BYTES == 2
#define STORED(row, i) ((u32)(row)[2 * (i)] | ((u32)(row)[2 * (i) + 1] << 8))
#else
#define STORED(row, i) ((u32)(row)[i])
#endif
#define SAMPLE(row, x, at) ((STORED(row, (x) * STEP + (at)) >> IN_SHIFT) & IN_MAX)

KERNEL void rgb_to_grayscale_samples(ARGUMENTS) {
    size_t x = INDEX(0), y = INDEX(1);
    if (OUTSIDE(x, columns, y, rows)) return;
    x += first;
    GLOBAL const u8 *row0 = source0 + y * (size_t)stride0;
#if CHANNELS == 1
    u32 value = code(PRODUCT(weight0, SAMPLE(row0, x, AT_0)) + bias);
#else
#if PLANES == 3
    GLOBAL const u8 *row1 = source1 + y * (size_t)stride1;
    GLOBAL const u8 *row2 = source2 + y * (size_t)stride2;
#else
    GLOBAL const u8 *row1 = row0, *row2 = row0;
#endif
    u32 value = code(PRODUCT(weight0, SAMPLE(row0, x, AT_0)) +
                     PRODUCT(weight1, SAMPLE(row1, x, AT_1)) +
                     PRODUCT(weight2, SAMPLE(row2, x, AT_2)) + bias);
#endif
    GLOBAL u8 *out = target + y * (size_t)stride + x * OUT_BYTES;
    out[0] = (u8)value;
#if OUT_BYTES == 2
    out[1] = (u8)(value >> 8);
#endif
}

/* Some pixels per item, a 32-bit word at a time. */
#define WORDS (PIXELS * STEP * IN_BYTES / 4)
#define PER_WORD (4 / IN_BYTES)
#define RAW(words, i) ((words)[(i) / PER_WORD] >> ((i) % PER_WORD * 8 * IN_BYTES))
#define PART(words, k, at) ((RAW(words, (k) * STEP + (at)) >> IN_SHIFT) & IN_MAX)

#if CHANNELS == 1
#define PIXEL(k) code(PRODUCT(weight0, PART(words0, k, AT_0)) + bias)
#else
#if PLANES == 1
#define words1 words0
#define words2 words0
#endif
#define PIXEL(k)                                                                                  \
    code(PRODUCT(weight0, PART(words0, k, AT_0)) + PRODUCT(weight1, PART(words1, k, AT_1)) +      \
         PRODUCT(weight2, PART(words2, k, AT_2)) + bias)
#endif

#define LOAD(words, source, stride)                                                               \
    u32 words[WORDS];                                                                             \
    {                                                                                             \
        GLOBAL const u32 *from = (GLOBAL const u32 *)(source + y * (size_t)stride) + x * WORDS;   \
        for (int i = 0; i < WORDS; i++) words[i] = from[i];                                       \
    }

KERNEL void rgb_to_grayscale_words(ARGUMENTS) {
    size_t x = INDEX(0), y = INDEX(1);
    if (OUTSIDE(x, columns, y, rows)) return;
    x += first;
    LOAD(words0, source0, stride0)
#if PLANES == 3
    LOAD(words1, source1, stride1)
    LOAD(words2, source2, stride2)
#endif
    GLOBAL u8 *row = target + y * (size_t)stride;
#if PIXELS * OUT_BYTES == 2
    ((GLOBAL u16 *)row)[x] = (u16)(PIXEL(0) | (PIXEL(1) << 8));
#else
    GLOBAL u32 *out = (GLOBAL u32 *)row + x * (PIXELS * OUT_BYTES / 4);
    for (int i = 0; i < PIXELS * OUT_BYTES / 4; i++) {
#if OUT_BYTES == 1
        out[i] = PIXEL(4 * i) | (PIXEL(4 * i + 1) << 8) | (PIXEL(4 * i + 2) << 16) |
                 (PIXEL(4 * i + 3) << 24);
#else
        out[i] = PIXEL(2 * i) | (PIXEL(2 * i + 1) << 16);
#endif
    }
#endif
}
