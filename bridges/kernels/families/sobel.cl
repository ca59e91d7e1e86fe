/* sobel: draws edges: how steep luma is at each pixel, or each of R, G and B; white on black.
 * kind sobel
 *
 * Chroma becomes neutral, alpha is copied. Compiled with what samples.h takes, and with
 *
 *   WIDE     1 where squares need 64 bits: from 13 bits on
 *   BLACK    the code of no gradient
 *   SPAN     codes from black to white
 *   KEPT     the channel that is copied, or -1
 *   PLAIN    the code that `sobel_plain` writes; -1 to copy
 *
 * `sobel_inner` has an item for each sample but those of the first and the last column, and
 * `sobel_edges` for these, so that only few items look for where the row ends.
 */
#if WIDE
typedef i64 square;
#else
typedef i32 square;
#endif

#define ARGUMENTS                                                                                 \
    GLOBAL u8 *target, u32 target_stride, GLOBAL const u8 *source, u32 source_stride, u32 items,  \
        u32 columns, u32 rows

/* The largest root whose rounding bound (root - 1/2) is at most sqrt(sum) / 4: bit by bit, exact. */
DEVICE u32 quarter_root(square sum) {
    u32 root = 0;
    for (int bit = BITS - 1; bit >= 0; bit--) {
        u32 trial = root | (1u << bit);
        square bound = 4 * (square)trial - 2;
        root = bound * bound <= sum ? trial : root;
    }
    return root;
}

DEVICE u32 gradient(GLOBAL const u8 *above, GLOBAL const u8 *row, GLOBAL const u8 *below,
                    size_t left, size_t j, size_t right) {
    i32 a = (i32)CODE(above, left), b = (i32)CODE(above, j), c = (i32)CODE(above, right);
    i32 d = (i32)CODE(row, left), f = (i32)CODE(row, right);
    i32 g = (i32)CODE(below, left), h = (i32)CODE(below, j), i = (i32)CODE(below, right);
    square x = (c + 2 * f + i) - (a + 2 * d + g);
    square y = (g + 2 * h + i) - (a + 2 * b + c);
    u32 magnitude = quarter_root(x * x + y * y);
    return BLACK + MIN(magnitude, SPAN);
}

#define ROWS                                                                                      \
    GLOBAL const u8 *row = source + y * (size_t)source_stride;                                    \
    GLOBAL const u8 *above = y == 0 ? row : row - source_stride;                                  \
    GLOBAL const u8 *below = y + 1 == rows ? row : row + source_stride;                           \
    GLOBAL u8 *out = target + y * (size_t)target_stride;

KERNEL void sobel_inner(ARGUMENTS) {
    size_t x = INDEX(0), y = INDEX(1);
    if (OUTSIDE(x, items, y, rows)) return;
    ROWS
    size_t j = x + CHANNELS;
    u32 code = gradient(above, row, below, j - CHANNELS, j, j + CHANNELS);
#if KEPT >= 0
    code = j % CHANNELS == KEPT ? CODE(row, j) : code;
#endif
    STORE(out, j, code);
}

/* Beyond the last column of the picture, packed 4:2:2 may have one more, which is like it. */
KERNEL void sobel_edges(ARGUMENTS) {
    size_t x = INDEX(0), y = INDEX(1);
    if (OUTSIDE(x, items, y, rows)) return;
    ROWS
    size_t edge = x / CHANNELS, channel = x % CHANNELS, end = columns - 1;
    size_t column = edge == 0 ? 0 : end;
    size_t j = column * CHANNELS + channel;
    size_t left = column == 0 ? j : j - CHANNELS, right = column == end ? j : j + CHANNELS;
    u32 code = gradient(above, row, below, left, j, right);
#if KEPT >= 0
    code = channel == KEPT ? CODE(row, j) : code;
#endif
    size_t to = edge == 0 ? channel : (end + edge - 1) * CHANNELS + channel;
    STORE(out, to, code);
}

KERNEL void sobel_plain(ARGUMENTS) {
    size_t x = INDEX(0), y = INDEX(1);
    if (OUTSIDE(x, items, y, rows)) return;
    GLOBAL u8 *out = target + y * (size_t)target_stride;
#if PLAIN >= 0
    STORE(out, x, PLAIN);
#else
    GLOBAL const u8 *row = source + y * (size_t)source_stride;
    STORE(out, x, CODE(row, x));
#endif
}
