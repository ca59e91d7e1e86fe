/* What point kernels are written with, behind prelude.h.
 *
 * A point kernel is a function of its own name that takes a pixel, where it is in the picture, and its
 * parameters, each as an i32: a float comes in 16.16 fixed point (0.5 is 32768), an int as it is, a
 * bool as 0 or 1. It returns the pixel that takes its place:
 *
 *     DEVICE pixel halve(pixel p, i32 x, i32 y, i32 amount) { ... return p; }
 *
 * Red, green, blue and alpha are R'G'B' codes of 0 to WHITE, whatever the picture's format, matrix,
 * range and depth; alpha is WHITE where the picture has none. Kernels of the package return codes of
 * that range; what those of people's own files return is clipped to it.
 */
#define WHITE 65535

typedef struct {
    i32 r, g, b, a;
} pixel;

/* value * factor, rounded half up: value of 0 to WHITE, factor in 16.16. */
DEVICE i32 scale(i32 value, i32 factor) {
    return value * (factor >> 16) +
           (i32)(((u32)value * (u32)(factor & 65535) + 32768u) >> 16);
}

/* value * factor + offset, rounded half up once: factor and offset in 16.16. */
DEVICE i32 scale_add(i32 value, i32 factor, i64 offset) {
    return value * (factor >> 16) + (i32)(offset >> 16) +
           (i32)(((u32)value * (u32)(factor & 65535) + (u32)(offset & 65535) + 32768u) >> 16);
}

DEVICE i32 clip(i32 value) { return CLAMP(value, 0, WHITE); }

/* The pixel with red, green and blue clipped. */
DEVICE pixel clipped(pixel p) {
    p.r = clip(p.r);
    p.g = clip(p.g);
    p.b = clip(p.b);
    return p;
}

/* What the entry points around point kernels are made of. */
DEVICE i32 narrow_clip(i32 value, i32 peak) { return CLAMP(value, 0, peak); }
DEVICE i32 wide_clip(i64 value, i32 peak) { return (i32)CLAMP(value, (i64)0, (i64)peak); }
#define LOAD8(row, at) ((u32)(row)[at])
#define LOAD16(row, at) ((u32)(row)[2 * (at)] | ((u32)(row)[2 * (at) + 1] << 8))
