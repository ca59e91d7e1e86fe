/* Samples of a view: one channel of elements at a distance, or whole elements side by side. The text
 * is compiled with
 *
 *   CHANNELS, STEP, OFFSET    samples of an element, from one element to the next, to the first
 *   BYTES, SHIFT, BITS        of one sample; its unused low bits; its significant bits
 *   ALIGNED                   whether samples of two bytes lie at even addresses
 *
 * A row is a pointer to its first byte. `j` counts the samples of the view in it.
 */
#define CODE_MAX ((1 << BITS) - 1)

#if CHANNELS == 1
#define AT(j) ((j) * STEP + OFFSET)
#else
#define AT(j) (j)
#endif
#if BYTES == 1
#define STORED(row, j) ((u32)(row)[AT(j)])
#define STORE(row, j, code) (row)[AT(j)] = (u8)((code) << SHIFT)
#elif ALIGNED
#define STORED(row, j) ((u32)((GLOBAL const u16 *)(row))[AT(j)])
#define STORE(row, j, code) ((GLOBAL u16 *)(row))[AT(j)] = (u16)((code) << SHIFT)
#else
#define STORED(row, j) ((u32)(row)[2 * AT(j)] | ((u32)(row)[2 * AT(j) + 1] << 8))
#define STORE(row, j, code)                                                                       \
    {                                                                                             \
        u32 stored = (u32)(code) << SHIFT;                                                        \
        (row)[2 * AT(j)] = (u8)stored;                                                            \
        (row)[2 * AT(j) + 1] = (u8)(stored >> 8);                                                 \
    }
#endif
#define CODE(row, j) ((STORED(row, j) >> SHIFT) & CODE_MAX)
