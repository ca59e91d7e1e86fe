/* gaussian_blur: weights each channel over its neighbourhood by a Gaussian; edges are repeated.
 * param sigma: float = 1.5 in [0.1, 20]   standard deviation in pixels of the picture
 * kind blur
 */
/* sharpen: adds to luma, or to R, G and B, what a Gaussian blur takes away: an unsharp mask.
 * param amount: float = 1 in [0, 5]   times what the blur takes away is added
 * param sigma: float = 1 in [0.1, 10]   standard deviation of the blur in pixels of the picture
 * kind blur
 *
 * A group makes ROWS rows of a tile: a vertical pass from the source into local memory, and a
 * horizontal one from there into the target. What sharpen leaves alone is blurred by radius 0.
 * Compiled with what samples.h takes, and with
 *
 *   RADIUS_X, RADIUS_Y    elements to each side
 *   WORD_BITS             16 or 32: sums between the passes are of one bit less
 *   AMOUNT_BITS, KEPT     fractional bits of `amount`, 0 to blur only; the channel that is
 *                         left alone, or -1
 *   ITEMS, TILE, ROWS     of a group; the most samples of a row, and the rows that it makes
 *   NARROW                whether a row has fewer samples than a group has items
 *   SPARE                 1 where a row ends with one sample more, which is like the last
 *
 * Weights are halved for the middle and whole for each pair at a distance, so that every product is
 * of a sum of two samples: RADIUS_Y + 1 of WORD_BITS - 1 fractional bits for the vertical pass, then
 * RADIUS_X + 1 of WORD_BITS for the horizontal one.
 */
#if WORD_BITS == 16
typedef u16 word;
typedef u32 twice;
typedef i32 difference;
#else
typedef u32 word;
typedef u64 twice;
typedef i64 difference;
#endif

#define FRACTION (WORD_BITS - 1 - BITS)
#define HALO (RADIUS_X * CHANNELS)
#define SPAN (TILE + 2 * HALO)

/* An item's place in a block of neighbours before `end`. A block that would leave the row is moved
 * back, and computes anew what others do: a condition for each item would cost CPUs their vectors. */
#if NARROW
#define PLACE(block, end) MIN((block) + item, (end) - 1)
#else
#define PLACE(block, end) (MIN(block, (end) - ITEMS) + item)
#endif

/* Products of words, of which CPUs keep the upper half in one instruction. */
#define PRODUCT(pair, weight) ((word)(((twice)(word)(pair) * (weight)) >> WORD_BITS))

/* The code of a blurred sample; where there is an amount, that of the sharpened one. */
DEVICE u32 code(word blurred, u32 sample, u32 amount, u32 bits) {
#if AMOUNT_BITS
    difference lost = (difference)((twice)sample << FRACTION) - (difference)blurred;
    difference sum = (difference)((twice)sample << (FRACTION + AMOUNT_BITS)) +
                     lost * (difference)amount + ((difference)1 << (FRACTION + AMOUNT_BITS - 1));
    difference value = sum >> (FRACTION + AMOUNT_BITS);
    return (u32)CLAMP(value, 0, CODE_MAX);
#else
    return (word)(blurred + (1 << FRACTION >> 1)) >> FRACTION;
#endif
}

KERNEL void blur(GLOBAL u8 *target, u32 target_stride, GLOBAL const u8 *source, u32 source_stride,
                 GLOBAL const word *weights, u32 samples, u32 rows, u32 length, u32 amount,
                 u32 bits, u32 shift) {
    LOCAL word lines[ROWS * SPAN];
    size_t item = ITEM(0), top = GROUP(1) * ROWS;
    /* The samples of this tile, and those that its sums reach. */
    size_t first = MIN(GROUP(0) * length, (size_t)samples + SPARE - length), last = first + length;
    size_t low = first < HALO ? 0 : first - HALO, high = MIN(last + HALO, (size_t)samples);
    size_t into = HALO - first;

    for (size_t block = low; block < high; block += ITEMS) {
        size_t j = PLACE(block, high);
        u32 column[2 * RADIUS_Y + ROWS];
        for (int k = 0; k < 2 * RADIUS_Y + ROWS; k++) {
            size_t y = top + k < RADIUS_Y ? 0 : MIN(top + k - RADIUS_Y, (size_t)rows - 1);
            column[k] = CODE(source + y * source_stride, j);
        }
        for (int r = 0; r < ROWS; r++) {
            twice sum = (twice)1 << (WORD_BITS - FRACTION - 2);
            /* Masked, since CPUs multiply factors fast that are known to have 15 bits. */
            for (int k = 0; k <= RADIUS_Y; k++)
                sum += (twice)(column[RADIUS_Y + r - k] + column[RADIUS_Y + r + k]) *
                       (weights[k] & (((twice)1 << (WORD_BITS - 1)) - 1));
            lines[r * SPAN + j + into] = (word)(sum >> (WORD_BITS - 1 - FRACTION));
        }
    }
    BARRIER;
    for (int r = 0; r < ROWS; r++) {
        for (size_t j = first + item; j < HALO; j += ITEMS)
            lines[r * SPAN + j - first] = lines[r * SPAN + j % CHANNELS + into];
        for (size_t j = samples + item; j < last + HALO; j += ITEMS)
            lines[r * SPAN + j + into] =
                lines[r * SPAN + samples - CHANNELS + (j - samples) % CHANNELS + into];
    }
    BARRIER;
    for (int r = 0; r < ROWS && top + r < rows; r++) {
        GLOBAL u8 *out = target + (top + r) * target_stride;
        GLOBAL const u8 *row = source + (top + r) * source_stride;
        for (size_t block = first; block < last; block += ITEMS) {
            size_t j = PLACE(block, last), from = SPARE ? MIN(j, (size_t)samples - 1) : j;
            size_t at = r * SPAN + from + into;
            word sum = (word)((RADIUS_X + 1) / 2);
            for (int k = 0; k <= RADIUS_X; k++)
                sum = (word)(sum + PRODUCT(lines[at - k * CHANNELS] + lines[at + k * CHANNELS],
                                           weights[RADIUS_Y + 1 + k]));
            u32 sample = CODE(row, from), value = code(sum, sample, amount, bits);
#if KEPT >= 0
            value = j % CHANNELS == KEPT ? sample : value;
#endif
            STORE(out, j, value);
        }
    }
}
