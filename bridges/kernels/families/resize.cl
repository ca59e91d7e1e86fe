/* resize: makes the picture another size; chroma stays where its siting puts it.
 * param width: int = 0 in [0, 65535]   columns of the result; 0 keeps the shape
 * param height: int = 0 in [0, 65535]   rows of the result; 0 keeps the shape
 * param filter: str = bicubic in {bilinear, bicubic, lanczos}   what weighs the samples
 * param antialias: bool = true   whether the filter widens as the picture shrinks
 * param siting: str = left in {left, centre}   where chroma lies between the columns of luma
 * kind resize
 */
/* polyphase: makes the picture another size by tables of 64 phases of 12 coefficients.
 * param width: int = 0 in [0, 65535]   columns of the result; 0 keeps the shape
 * param height: int = 0 in [0, 65535]   rows of the result; 0 keeps the shape
 * param coefficients: str = auto   auto, bilinear, bicubic, lanczos or a file; see polyphase.py
 * param siting: str = left in {left, centre}   where chroma lies between the columns of luma
 * kind resize
 *
 * For both, columns are weighted first, into a row of sums that is kept near; then those of the row.
 * Every group makes a stretch of an output row, in runs; of rows of groups, CUDA has no more than
 * 65535. Compiled with
 *
 *   HALVES                1 where all is the mean of two by two bytes, alone in a plane; or
 *                         what samples.h takes, and
 *   TAPS, DOWN_TAPS       weights of an output, and of a sum in each pass
 *   PARTS                 1 where there are several passes
 *   WIDE                  1 where sums need 64 bits, and weights and what is kept of sums 32
 *   RUNS, ITEMS           runs and items of a group
 *   RUN_ROOM, GROUP_ROOM  samples of a row that a run and a group need, at most
 *   OUTPUTS               samples that a run makes, at most
 *   SHORT                 1 where weights repeat soon enough for a period to be written out; then
 *   PERIOD                after so many outputs,
 *   ADVANCE, PHASE, DIVISOR   output x begins (x * ADVANCE + PHASE) / DIVISOR columns later, and
 *   DOWN_SHIFT, ACROSS_SHIFT, SIGNED     are known
 *
 * A compiler for processors vectorises the loop of an item over its own run, and needs no gathers
 * where it knows the period: one item does a whole run. On a GPU the items of a group share its
 * runs, so that neighbours read neighbours.
 */
#if HALVES
/* Two outputs of four bytes of two rows, which are added in pairs of 16 bits. */
#define EVEN(word) ((word) & 0x00FF00FFu)
#define PAIRS(word) (EVEN(word) + EVEN((word) >> 8))

KERNEL void resize_halves(GLOBAL u8 *target, u32 target_stride, GLOBAL const u8 *source,
                          u32 source_stride, u32 columns, u32 rows) {
    size_t x = INDEX(0), y = INDEX(1);
    if (OUTSIDE(x, columns, y, rows)) return;
    GLOBAL const u8 *from = source + 2 * y * source_stride;
    u32 upper = ((GLOBAL const u32 *)from)[x];
    u32 lower = ((GLOBAL const u32 *)(from + source_stride))[x];
    u32 sums = PAIRS(upper) + PAIRS(lower) + 0x00020002u;
    ((GLOBAL u16 *)(target + y * target_stride))[x] =
        (u16)(((sums >> 2) & 0xFF) | ((sums >> 10) & 0xFF00));
}
#else
typedef short i16;
#if WIDE
typedef i64 sum_t;
typedef i32 weight_t;
#else
typedef i32 sum_t;
typedef i16 weight_t;
#endif
/* Where a period is not known, sums are gathered: processors gather nothing below 32 bits. */
#if WIDE || !SHORT
typedef i32 kept_t;
#else
typedef i16 kept_t;
#endif

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define TOGETHER 1
#endif

/* The hint is that items are vectors already: compilers for processors then vectorise loops. */
#if TOGETHER
#define HINT
#define NEAR LOCAL
#define ROOM GROUP_ROOM
#define WAIT BARRIER
#define LENGTH ((size_t)RUNS * width)
#define BEGIN (GROUP(0) * LENGTH)
#define EACH(i, first, end) for (size_t i = (first) + ITEM(0); i < (end); i += ITEMS)
#else
#define HINT __attribute__((vec_type_hint(int16)))
#define NEAR
#define ROOM RUN_ROOM
#define WAIT
#define LENGTH ((size_t)width)
#define BEGIN ((GROUP(0) * RUNS + ITEM(0)) * LENGTH)
#define EACH(i, first, end) _Pragma("unroll 1") for (size_t i = (first); i < (end); i++)
#endif

/* Channels lie side by side among the sums, or, where strides would be too long, behind each
 * other: BESIDE of them in each of so many LANES. */
#if SHORT && PERIOD * CHANNELS <= 8
#define BESIDE CHANNELS
#else
#define BESIDE 1
#endif
#define LANES (CHANNELS / BESIDE)
#define SUM(i, lane) sums[(lane) * (ROOM / LANES) + (i)]
#define SUM_OF(x, channel) SUM((x) * BESIDE + (channel) % BESIDE, (channel) / BESIDE)

#if !SHORT
#define DOWN_SHIFT down_shift
#define ACROSS_SHIFT across_shift
#define SIGNED 1
#endif

#define HALF(places) (((sum_t)1 << (places)) >> 1)
#if SIGNED
#define ROUNDED(sum) CLAMP((sum) >> ACROSS_SHIFT, 0, CODE_MAX)
#else
#define ROUNDED(sum) ((sum) >> ACROSS_SHIFT)
#endif

KERNEL HINT void resize(GLOBAL u8 *target, u32 target_stride, GLOBAL const u8 *source,
                        u32 source_stride, GLOBAL const weight_t *weights,
                        GLOBAL const i32 *starts, GLOBAL const weight_t *down_weights,
                        GLOBAL const u32 *down_rows, u32 passes, u32 columns_in, u32 columns,
                        u32 width, u32 offset, u32 bits, u32 shift, u32 down_shift,
                        u32 across_shift) {
    NEAR kept_t sums[ROOM];
#if PARTS
    NEAR sum_t parts[ROOM];
#endif
    size_t begin = BEGIN, y = GROUP(1);
#if !TOGETHER
    if (ITEM(0) >= RUNS || begin >= columns) return;
#endif
    size_t count = MIN(LENGTH, columns - begin);
    i32 start = starts[begin];
    /* Of the columns that are needed, those from low to high lie in the picture. */
    i32 needed = starts[begin + count - 1] - start + TAPS;
    size_t low = (size_t)MAX(-start, 0);
    size_t high = (size_t)MIN(needed, (i32)columns_in - start);

    for (u32 pass = 0; pass < passes; pass++) {
        GLOBAL const u8 *rows[DOWN_TAPS];
        sum_t down[DOWN_TAPS];
        for (int t = 0; t < DOWN_TAPS; t++) {
            size_t at = (y * passes + pass) * DOWN_TAPS + t;
            rows[t] = source + down_rows[at] * (size_t)source_stride +
                      ((i64)start * STEP + (i64)offset) * BYTES;
            down[t] = down_weights[at];
        }
        EACH(i, low * BESIDE, high * BESIDE) {
            for (int lane = 0; lane < LANES; lane++) {
                sum_t sum = HALF(DOWN_SHIFT);
#if PARTS
                size_t part = lane * (ROOM / LANES) + i;
                sum = pass ? parts[part] : sum;
#endif
                for (int t = 0; t < DOWN_TAPS; t++)
                    sum += down[t] * (sum_t)CODE(rows[t], i * LANES + lane);
#if PARTS
                parts[part] = sum;
#endif
                SUM(i, lane) = (kept_t)(sum >> DOWN_SHIFT);
            }
        }
    }
    WAIT;
    for (int channel = 0; channel < CHANNELS; channel++) {
        EACH(x, 0, low) SUM_OF(x, channel) = SUM_OF(low, channel);
        EACH(x, high, (size_t)needed) SUM_OF(x, channel) = SUM_OF(high - 1, channel);
    }
    WAIT;

    GLOBAL u8 *out = target + y * (size_t)target_stride + (begin * STEP + offset) * BYTES;
    size_t done = 0;
#if SHORT && !TOGETHER
    weight_t near_weights[TAPS * PERIOD];
    for (int i = 0; i < TAPS * PERIOD; i++)
        near_weights[i] = weights[(size_t)(i / PERIOD) * columns + i % PERIOD];
    EACH(k, 0, count / PERIOD) {
        for (int j = 0; j < PERIOD; j++)
            for (int channel = 0; channel < CHANNELS; channel++) {
                size_t from = k * (PERIOD * ADVANCE / DIVISOR) + (j * ADVANCE + PHASE) / DIVISOR;
                sum_t sum = HALF(ACROSS_SHIFT);
                for (int t = 0; t < TAPS; t++)
                    sum += (sum_t)near_weights[t * PERIOD + j] * SUM_OF(from + t, channel);
                STORE(out, (k * PERIOD + j) * CHANNELS + channel, ROUNDED(sum));
            }
    }
    done = count - count % PERIOD;
#endif
#if TOGETHER
#define PUT(x, channel, code) STORE(out, (x) * CHANNELS + (channel), code)
#else
    /* Kept apart from the tables, or the compiler has to expect that it changes them. */
    i32 codes[OUTPUTS];
#define PUT(x, channel, code) codes[(channel) * (OUTPUTS / CHANNELS) + (x)] = (i32)(code)
#endif
    for (int channel = 0; channel < CHANNELS; channel++)
        EACH(x, done, count) {
            i32 from = starts[begin + x] - start;
            sum_t sum = HALF(ACROSS_SHIFT);
            for (int t = 0; t < TAPS; t++)
                sum += (sum_t)weights[(size_t)t * columns + begin + x] * SUM_OF(from + t, channel);
            PUT(x, channel, ROUNDED(sum));
        }
#if !TOGETHER
    EACH(x, done, count)
        for (int channel = 0; channel < CHANNELS; channel++)
            STORE(out, x * CHANNELS + channel, codes[channel * (OUTPUTS / CHANNELS) + x]);
#endif
}
#endif
