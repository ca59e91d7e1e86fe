/* histogram: counts the samples of each channel in equal parts of the code range.
 * param bins: int = 256 in [2, 1024]   parts; where they are more than codes, some stay empty
 * kind statistics
 *
 * The code c of a sample of n bits lies in part c * bins >> n.
 */
/* statistics: finds the lowest and the highest code of each channel, the sum of all, and how many.
 * kind statistics
 *
 * For both, a first launch makes a record of each BAND rows of one view of the picture, and a second
 * one puts the records together. Compiled with what samples.h takes, and with
 *
 *   BAND, LANES     rows of a record, and items that share in it
 *   BINS, TABLES    parts of the code range, tables of each item; of `histogram` alone
 *   WIDE            1 where what an item adds up of a row needs 64 bits; of `statistics` alone
 *
 * `columns` and `rows` are those of the view, `many` counts records, and `channel` is the target's
 * row for the first channel of the view. Samples are read one at a time: CPU runtimes do neither
 * kernel better with words.
 */
/* Targets may start at any address. */
DEVICE void put(GLOBAL u8 *to, u64 value, int nbytes) {
    for (int i = 0; i < nbytes; i++) to[i] = (u8)(value >> (8 * i));
}

#ifdef BINS
#define SLOTS (CHANNELS * BINS)

/* Slots side by side for each item: CPU runtimes vectorise these loops then. */
#define SHARE ((SLOTS + LANES - 1) / LANES)

/* Every item counts in tables of its own, so that none has to be locked, and neighbouring pixels in
 * different ones, so that equal neighbours need not wait for each other. */
KERNEL void histogram_count(GLOBAL u32 *records, GLOBAL const u8 *source, u32 stride, u32 columns,
                            u32 rows) {
    LOCAL u32 counts[LANES * TABLES * SLOTS];
    size_t lane = ITEM(0), band = GROUP(1);
    size_t mine = lane * TABLES * SLOTS;
    for (size_t i = 0; i < TABLES * SLOTS; i++) counts[mine + i] = 0;
    size_t end = MIN((band + 1) * BAND, (size_t)rows), whole = columns / TABLES * TABLES;
    for (size_t y = band * BAND; y < end; y++) {
        GLOBAL const u8 *row = source + y * (size_t)stride;
        for (size_t x = lane * TABLES; x < whole; x += LANES * TABLES)
            for (int k = 0; k < TABLES; k++)
                for (int c = 0; c < CHANNELS; c++)
                    counts[mine + (k * CHANNELS + c) * BINS +
                           (CODE_AT(row, (x + k) * STEP + OFFSET + c) * BINS >> BITS)]++;
        for (size_t x = whole + lane; x < columns; x += LANES)
            for (int c = 0; c < CHANNELS; c++)
                counts[mine + c * BINS + (CODE_AT(row, x * STEP + OFFSET + c) * BINS >> BITS)]++;
    }
    BARRIER;
    GLOBAL u32 *out = records + band * SLOTS;
    for (size_t i = lane * SHARE; i < MIN((lane + 1) * SHARE, (size_t)SLOTS); i++) {
        u32 total = 0;
        for (int table = 0; table < LANES * TABLES; table++) total += counts[table * SLOTS + i];
        out[i] = total;
    }
}

KERNEL void histogram_total(GLOBAL u8 *target, u32 stride, GLOBAL const u32 *records, u32 many,
                            u32 channel) {
    size_t bin = INDEX(0), c = INDEX(1);
    if (OUTSIDE(bin, BINS, c, CHANNELS)) return;
    u32 total = 0;
    for (u32 i = 0; i < many; i++) total += records[i * (size_t)SLOTS + c * BINS + bin];
    put(target + (channel + c) * (size_t)stride + 4 * bin, total, 4);
}

#else
/* As narrow as it can be: the vectors of CPUs hold more of them. */
#if BYTES == 1
typedef u8 code_t;
#else
typedef u16 code_t;
#endif

#if WIDE
typedef u64 sum_t;
#else
typedef u32 sum_t;
#endif

#define TAKE(i)                                                                                   \
    {                                                                                             \
        code_t code = (code_t)CODE_AT(row, i);                                                    \
        sum += code;                                                                              \
        low = MIN(low, code);                                                                     \
        high = MAX(high, code);                                                                   \
    }

/* Rows are taken as samples side by side. STEP divides LANES, so that all samples of an item are of
 * one channel, or of one that is left out. A record holds LANES sums, lowest and highest codes. */
KERNEL void statistics_count(GLOBAL u64 *records, GLOBAL const u8 *source, u32 stride, u32 columns,
                             u32 rows, u32 many) {
    size_t lane = INDEX(0), band = INDEX(1);
    if (OUTSIDE(lane, LANES, band, many)) return;
    u64 total = 0;
    code_t low = CODE_MAX, high = 0;
    size_t samples = columns * (size_t)STEP, rest = samples % LANES;
    size_t end = MIN((band + 1) * BAND, (size_t)rows);
    for (size_t y = band * BAND; y < end; y++) {
        GLOBAL const u8 *row = source + y * (size_t)stride;
        sum_t sum = 0;
        /* CPU runtimes vectorise a loop that is as long for all items. */
        for (size_t i = 0; i < samples / LANES; i++) TAKE(i * LANES + lane)
        if (lane < rest) TAKE(samples - rest + lane)
        total += sum;
    }
    GLOBAL u64 *out = records + 3 * LANES * band + lane;
    out[0] = total;
    out[LANES] = low;
    out[2 * LANES] = high;
}

KERNEL void statistics_total(GLOBAL u8 *minimum, u32 stride0, GLOBAL u8 *maximum, u32 stride1,
                             GLOBAL u8 *sum, u32 stride2, GLOBAL u8 *count, u32 stride3,
                             GLOBAL const u64 *records, u32 many, u32 channel, i64 samples) {
    LOCAL u64 sums[LANES], lows[LANES], highs[LANES];
    size_t lane = ITEM(0);
    u64 total = 0, low = CODE_MAX, high = 0;
    for (u32 i = 0; i < many; i++) {
        GLOBAL const u64 *from = records + 3 * LANES * (size_t)i + lane;
        total += from[0];
        low = MIN(low, from[LANES]);
        high = MAX(high, from[2 * LANES]);
    }
    sums[lane] = total;
    lows[lane] = low;
    highs[lane] = high;
    BARRIER;
    if (lane < CHANNELS) {
        total = 0;
        low = CODE_MAX;
        high = 0;
        for (size_t i = OFFSET + lane; i < LANES; i += STEP) {
            total += sums[i];
            low = MIN(low, lows[i]);
            high = MAX(high, highs[i]);
        }
        size_t row = channel + lane;
        put(minimum + row * stride0, low, 4);
        put(maximum + row * stride1, high, 4);
        put(sum + row * stride2, total, 8);
        put(count + row * stride3, (u64)samples, 8);
    }
}
#endif
