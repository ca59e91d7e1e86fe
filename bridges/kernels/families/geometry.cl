/* crop: takes a part of the picture.
 * param x: int = 0   its first column, on the grid of the chroma samples
 * param y: int = 0   its first row, on the grid too
 * param width: int = 0   its columns; 0 takes all up to the end
 * param height: int = 0   its rows; 0 takes all up to the end
 * kind geometry
 */
/* pad: adds a border of one colour.
 * param left: int = 0 in [0, 65535]   columns to add, on the grid of the chroma samples
 * param top: int = 0 in [0, 65535]   rows to add, on the grid too
 * param right: int = 0 in [0, 65535]   columns to add
 * param bottom: int = 0 in [0, 65535]   rows to add
 * param colour: str = black   a name, or #rrggbb in full-range R'G'B'
 * kind geometry
 */
/* flip: mirrors the picture: left and right change places, or top and bottom, or both.
 * param direction: str = horizontal in {horizontal, vertical, both}   what changes places
 * kind geometry
 */
/* rotate: turns the picture clockwise by quarter turns.
 * param angle: int = 90   degrees: 90, 180 or 270
 * kind geometry
 */
/* transpose: lets rows and columns change places.
 * kind geometry
 */

/* Samples are moved, never changed. Elements are the pixels of a plane, or some of their samples,
 * and a chunk is the fewest elements that fill whole words: 4, 2, 4, 1, 2 or 1 of 1, 2, 3, 4, 6 or
 * 8 bytes. Compiled with
 *
 *   BYTES, STEP, AT       of an element; from one to the next; before the first of a row
 *   TRANSPOSED            1 where a row of the target is a column of the source
 *   MIRROR_X, MIRROR_Y    1 where the source's columns, or its rows, are read from the last on
 *   FILL                  how many words a border repeats, 1 to 3; 0 where there is no border
 *   PHASE                 bytes from a word of the source to the first chunk: 0 to 3
 *   PAIR                  1 or 2 where a mirrored element is a pair of pixels, whose Y samples are
 *                         the even bytes or the odd ones
 *   ROWS                  rows per item of `_words`, which has at least as many
 *   TILE                  chunks along either side of a tile
 *
 * `x0` and `y0` are where the launch begins in the target, and what its items count from; they are
 * elements for `_samples`, chunks and rows for `_words`. Of these, `inner_columns` from `inner_x`
 * on and `inner_rows` from `inner_y` on are the source's, the others get the border's words.
 */
#define ARGUMENTS                                                                                 \
    GLOBAL u8 *target, u32 target_stride, GLOBAL const u8 *source, u32 source_stride, u32 x0,     \
        u32 y0, u32 columns, u32 rows, u32 last, i32 origin_x, i32 origin_y, u32 inner_x,         \
        u32 inner_y, u32 inner_columns, u32 inner_rows, u32 fill0, u32 fill1, u32 fill2

/* Where something of the source lies that is `distance` away from where the target begins. */
#define ALONG_X(distance) (MIRROR_X ? (size_t)origin_x - (distance) : (size_t)origin_x + (distance))
#define ALONG_Y(distance) (MIRROR_Y ? (size_t)origin_y - (distance) : (size_t)origin_y + (distance))

#define INSIDE(x, y) ((x) - inner_x < (size_t)inner_columns && (y) - inner_y < (size_t)inner_rows)

/* The word of the border that is word k of a row. */
#define BORDER(k) ((k) % FILL == 0 ? fill0 : (k) % FILL == 1 ? fill1 : fill2)

/* One element per item, a byte at a time: any address, any width. */
KERNEL void geometry_samples(ARGUMENTS) {
    size_t x = INDEX(0), y = INDEX(1);
    if (OUTSIDE(x, columns, y, rows)) return;
    x += x0;
    y += y0;
    GLOBAL u8 *out = target + y * (size_t)target_stride + x * STEP + AT;
    /* A picture of odd width may have room for one sample more: it repeats the last. */
    x = MIN(x, (size_t)last);
#if FILL
    if (!INSIDE(x, y)) {
        for (int i = 0; i < BYTES; i++) {
            u32 at = (u32)x * BYTES + i;
            out[i] = (u8)(BORDER(at / 4) >> (at % 4 * 8));
        }
    } else
#endif
    {
#if TRANSPOSED
        size_t column = ALONG_X(y), row = ALONG_Y(x);
#else
        size_t column = ALONG_X(x), row = ALONG_Y(y);
#endif
        GLOBAL const u8 *in = source + row * source_stride + column * STEP + AT;
        for (int i = 0; i < BYTES; i++) out[i] = in[i];
    }
}

/* Words of a chunk, and elements in it. */
#define WORDS (BYTES % 3 == 0 ? 3 : BYTES == 8 ? 2 : 1)
#define ELEMENTS (4 * WORDS / BYTES)

#if BYTES == 3
/* Element k of a chunk of four that have three bytes each; the highest byte is another's or zero. */
#define THREE(words, k)                                                                           \
    ((k) == 0   ? (words)[0]                                                                      \
     : (k) == 1 ? ((words)[0] >> 24) | ((words)[1] << 8)                                          \
     : (k) == 2 ? ((words)[1] >> 16) | ((words)[2] << 16)                                         \
                : (words)[2] >> 8)

/* Four elements of three bytes become a chunk. */
DEVICE void join(u32 *chunk, u32 a, u32 b, u32 c, u32 d) {
    chunk[0] = (a & 0xffffff) | (b << 24);
    chunk[1] = ((b >> 8) & 0xffff) | (c << 16);
    chunk[2] = ((c >> 16) & 0xff) | (d << 8);
}
#endif

#if !TRANSPOSED
/* Reverse the order of the elements of a chunk. */
DEVICE void mirror(u32 *chunk) {
#if BYTES == 1
    u32 word = (chunk[0] << 16) | (chunk[0] >> 16);
    chunk[0] = ((word & 0x00ff00ff) << 8) | ((word >> 8) & 0x00ff00ff);
#elif BYTES == 2
    chunk[0] = (chunk[0] << 16) | (chunk[0] >> 16);
#elif BYTES == 3
    join(chunk, THREE(chunk, 3), THREE(chunk, 2), THREE(chunk, 1), THREE(chunk, 0));
#elif PAIR
    u32 luma = PAIR == 1 ? 0x00ff00ff : 0xff00ff00, word = chunk[0] & luma;
    chunk[0] = (chunk[0] & ~luma) | (word << 16) | (word >> 16);
#elif BYTES == 6
    u32 first = chunk[0], middle = chunk[1];
    chunk[0] = (middle >> 16) | (chunk[2] << 16);
    chunk[1] = (chunk[2] >> 16) | (first << 16);
    chunk[2] = (first >> 16) | (middle << 16);
#endif
}

/* A chunk of ROWS rows per item, from rows that start at words; `origin_x` counts words. The last
 * items begin early enough to end with the rows: what two items have in common is written alike.
 */
KERNEL void geometry_words(ARGUMENTS) {
    size_t x = INDEX(0), first = INDEX(1) * ROWS;
    if (OUTSIDE(x, columns, first, rows)) return;
    x += x0;
    first = y0 + MIN(first, (size_t)rows - ROWS);
    for (size_t y = first; y < first + ROWS; y++) {
        u32 chunk[WORDS];
#if FILL
        if (!INSIDE(x, y))
            chunk[0] = BORDER((u32)x);
        else
#endif
        {
            GLOBAL const u8 *row = source + ALONG_Y(y) * source_stride;
            GLOBAL const u32 *in = (GLOBAL const u32 *)row + ALONG_X(x * WORDS);
            for (int i = 0; i < WORDS; i++)
#if PHASE
                chunk[i] = (in[i] >> (8 * PHASE)) | (in[i + 1] << (32 - 8 * PHASE));
#else
                chunk[i] = in[i];
#endif
            if (MIRROR_X) mirror(chunk);
        }
        GLOBAL u32 *out = (GLOBAL u32 *)(target + y * (size_t)target_stride) + x * WORDS;
        for (int i = 0; i < WORDS; i++) out[i] = chunk[i];
    }
}

#else
/* A square of elements, a chunk in each row: its rows and columns change places. */
DEVICE void turn(u32 block[ELEMENTS][WORDS]) {
#if BYTES == 1
    u32 a = block[0][0], b = block[1][0], c = block[2][0], d = block[3][0];
    u32 even0 = (a & 0x00ff00ff) | ((b & 0x00ff00ff) << 8);
    u32 even1 = (c & 0x00ff00ff) | ((d & 0x00ff00ff) << 8);
    u32 odd0 = ((a >> 8) & 0x00ff00ff) | (b & 0xff00ff00);
    u32 odd1 = ((c >> 8) & 0x00ff00ff) | (d & 0xff00ff00);
    block[0][0] = (even0 & 0xffff) | (even1 << 16);
    block[1][0] = (odd0 & 0xffff) | (odd1 << 16);
    block[2][0] = (even0 >> 16) | (even1 & 0xffff0000);
    block[3][0] = (odd0 >> 16) | (odd1 & 0xffff0000);
#elif BYTES == 2
    u32 a = block[0][0], b = block[1][0];
    block[0][0] = (a & 0xffff) | (b << 16);
    block[1][0] = (a >> 16) | (b & 0xffff0000);
#elif BYTES == 3
    u32 turned[4][3];
    for (int k = 0; k < 4; k++)
        join(turned[k], THREE(block[0], k), THREE(block[1], k), THREE(block[2], k),
             THREE(block[3], k));
    for (int k = 0; k < 4; k++)
        for (int i = 0; i < 3; i++) block[k][i] = turned[k][i];
#elif BYTES == 6
    u32 a1 = block[0][1], a2 = block[0][2], b0 = block[1][0], b1 = block[1][1];
    block[0][1] = (a1 & 0xffff) | (b0 << 16);
    block[0][2] = (b0 >> 16) | (b1 << 16);
    block[1][0] = (a1 >> 16) | (a2 << 16);
    block[1][1] = (a2 >> 16) | (b1 & 0xffff0000);
#endif
}

/* A tile per group, from rows that start at words: both sides are read and written in runs. The
 * last tiles begin early enough to end with the whole chunks, `columns` of the source and `rows`
 * of them: what two tiles have in common is written alike.
 */
KERNEL void geometry_tiles(GLOBAL u8 *target, u32 target_stride, GLOBAL const u8 *source,
                           u32 source_stride, u32 columns, u32 rows, i32 origin_x, i32 origin_y) {
    size_t left = MIN(GROUP(0) * TILE, (size_t)columns - TILE);
    size_t top = MIN(GROUP(1) * TILE, (size_t)rows - TILE);
#if WORDS == 3
    /* A column of items, neighbours of which write neighbouring chunks. */
    size_t i = ITEM(1) / TILE, j = ITEM(1) % TILE;
#else
    size_t i = ITEM(0), j = ITEM(1);
#endif
    u32 block[ELEMENTS][WORDS];
    for (int k = 0; k < ELEMENTS; k++) {
        size_t row = ALONG_Y((top + j) * ELEMENTS + k);
        GLOBAL const u32 *in =
            (GLOBAL const u32 *)(source + row * source_stride) + (left + i) * WORDS;
        for (int w = 0; w < WORDS; w++) block[k][w] = in[w];
    }
    turn(block);
#if WORDS == 3
    for (int k = 0; k < ELEMENTS; k++) {
        size_t row = ALONG_X((left + i) * ELEMENTS + k);
        GLOBAL u32 *out = (GLOBAL u32 *)(target + row * target_stride) + (top + j) * WORDS;
        for (int w = 0; w < WORDS; w++) out[w] = block[k][w];
    }
#else
    /* A word more in each row, so that neighbours of a warp write to other banks. */
    LOCAL u32 tile[TILE * ELEMENTS][TILE * WORDS + 1];
    for (int k = 0; k < ELEMENTS; k++)
        for (int w = 0; w < WORDS; w++) tile[i * ELEMENTS + k][j * WORDS + w] = block[k][w];
    BARRIER;
    for (int k = 0; k < ELEMENTS; k++) {
        size_t row = ALONG_X((left + j) * ELEMENTS + k);
        GLOBAL u32 *out = (GLOBAL u32 *)(target + row * target_stride) + (top + i) * WORDS;
        for (int w = 0; w < WORDS; w++) out[w] = tile[j * ELEMENTS + k][i * WORDS + w];
    }
#endif
}
#endif
