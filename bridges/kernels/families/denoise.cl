/* denoise: averages temporal noise away where a picture differs little from the last result.
 * param strength: float = 0.6 in [0, 0.99]   share of the smallest differences that is taken away
 * param threshold: float = 12 in [1, 64]   differences from here on are motion, in 8-bit codes
 * previous the picture that noise is averaged with: it holds what is left of all before
 * kind denoise
 *
 * With d, what a sample differs from the same sample of the previous result,
 *
 *   out = previous + d * k(|d|),  k(a) = 1 - strength * max(0, 1 - a / threshold)
 *
 * Alpha and padding are copied. Rows are taken as samples side by side, whatever their channels.
 * Compiled with BYTES, SHIFT and BITS, which samples.h takes, and with
 *
 *   SAMPLES               of an item: as many as two words hold, where all rows start at multiples
 *                         of four bytes; or 1, which is read byte by byte
 *   STEP, COPIED          samples of a pixel; which one of them is copied, or STEP if none
 *
 * `columns` and `first` count such items. Each reads and writes its own samples alone, so that the
 * target may be the memory of either picture.
 */
/* What is to be taken from a difference of magnitude a is a * strength * (1 - a / threshold), where
 * the second factor, `all - a * each`, has 30 bits of fraction, of which 19 are kept: products fit
 * 32 bits since a * strength * (1 - a / threshold) is at most 64 * 256 / 4. At least one code of a
 * difference is left, so that a picture which stands still becomes its own result. */
DEVICE i32 filtered(i32 current, i32 previous, i32 most, i32 all, i32 each) {
    i32 difference = current - previous;
    i32 magnitude = difference < 0 ? -difference : difference;
    i32 small = MIN(magnitude, most);
    u32 share = (u32)MAX(all - small * each, 0) >> 11;
    i32 taken = (i32)((small * share + (1 << 18)) >> 19);
    taken = MAX(MIN(taken, magnitude - 1), 0);
    return difference < 0 ? current + taken : current - taken;
}

#define MADE(now, before, i)                                                                      \
    made((now) >> SHIFT & CODE_MAX, (before) >> SHIFT & CODE_MAX, (i) % STEP == COPIED, most, all, \
         each)

/* A sample with its unused bits. */
DEVICE u32 made(u32 now, u32 before, int copied, i32 most, i32 all, i32 each) {
    return (copied ? now : (u32)filtered((i32)now, (i32)before, most, all, each)) << SHIFT;
}

KERNEL void denoise(GLOBAL u8 *target, u32 stride, GLOBAL const u8 *source, u32 source_stride,
                    GLOBAL const u8 *previous, u32 previous_stride, u32 first, u32 columns,
                    u32 rows, i32 most, i32 all, i32 each) {
    size_t x = INDEX(0), y = INDEX(1);
    if (OUTSIDE(x, columns, y, rows)) return;
    x += first;
    GLOBAL u8 *out = target + y * (size_t)stride;
    GLOBAL const u8 *now = source + y * (size_t)source_stride;
    GLOBAL const u8 *before = previous + y * (size_t)previous_stride;
#if SAMPLES > 1
    for (int word = 0; word < 2; word++) {
        u32 from = ((GLOBAL const u32 *)now)[2 * x + word];
        u32 last = ((GLOBAL const u32 *)before)[2 * x + word];
        u32 word_made = 0;
        for (int i = 0; i < SAMPLES / 2; i++)
            word_made |= MADE(from >> (8 * BYTES * i), last >> (8 * BYTES * i),
                              word * (SAMPLES / 2) + i)
                         << (8 * BYTES * i);
        ((GLOBAL u32 *)out)[2 * x + word] = word_made;
    }
#else
    STORE_AT(out, x, MADE(STORED(now, x), STORED(before, x), x));
#endif
}
