/* Samples of a row, which is a pointer to its first byte: all of them, or those of a view, which is
 * one channel of elements at a distance, or whole elements side by side. The text is compiled with
 *
 *   CHANNELS, STEP, OFFSET    samples of an element, from one element to the next, to the first
 *   BYTES, SHIFT, BITS        of one sample; its unused low bits; its significant bits
 *   ALIGNED                   whether samples of two bytes lie at even addresses
 *
 * Where SHIFT and BITS are not told, entry points have arguments `shift` and `bits`, so that all
 * depths of two bytes share their code. It has
 *
 *   STORED(row, i)            sample i of a row, with its unused bits
 *   CODE_AT(row, i)           its code
 *   STORE_AT(row, i, stored)  writes it
 *   AT(j)                     which of a row's samples is sample j of the view
 *   CODE(row, j)              the code of that
 *   STORE(row, j, code)       writes it
 */
#ifndef BITS
#define BITS bits
#define SHIFT shift
#endif
#define CODE_MAX ((1 << BITS) - 1)

#if BYTES == 1
#define STORED(row, i) ((u32)(row)[i])
#define STORE_AT(row, i, stored) (row)[i] = (u8)(stored)
#elif ALIGNED
#define STORED(row, i) ((u32)((GLOBAL const u16 *)(row))[i])
#define STORE_AT(row, i, stored) ((GLOBAL u16 *)(row))[i] = (u16)(stored)
#else
#define STORED(row, i) ((u32)(row)[2 * (i)] | ((u32)(row)[2 * (i) + 1] << 8))
#define STORE_AT(row, i, stored)                                                                  \
    {                                                                                             \
        u32 both = (u32)(stored);                                                                 \
        (row)[2 * (i)] = (u8)both;                                                                \
        (row)[2 * (i) + 1] = (u8)(both >> 8);                                                     \
    }
#endif
#define CODE_AT(row, i) ((STORED(row, i) >> SHIFT) & CODE_MAX)

#if CHANNELS == 1
#define AT(j) ((j) * STEP + OFFSET)
#else
#define AT(j) (j)
#endif
#define CODE(row, j) CODE_AT(row, AT(j))
#define STORE(row, j, code) STORE_AT(row, AT(j), (code) << SHIFT)
