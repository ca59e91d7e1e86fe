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

/* value * factor, rounded half up: the factor in 16.16. */
DEVICE i32 scale(i32 value, i32 factor) {
    return (i32)(((i64)value * factor + 32768) >> 16);
}

/* value * factor + offset, rounded half up once: value of 0 to WHITE, factor and offset in 16.16. */
DEVICE i32 scale_add(i32 value, i32 factor, i64 offset) {
#ifdef __CUDACC__
    return (i32)(((i64)value * factor + (offset + 32768)) >> 16);
#else
    /* CPUs have no good product of 64 bits: halves of 16 bits, whose sum cannot overflow. */
    return value * (factor >> 16) + (i32)(offset >> 16) +
           (i32)(((u32)value * (u32)(factor & 65535) + (u32)(offset & 65535) + 32768u) >> 16);
#endif
}

/* value, but not below 0 nor above peak. */
DEVICE i32 narrow_clip(i32 value, i32 peak) {
#ifdef __CUDACC__
    return __vimin_s32_relu(value, peak);
#else
    return CLAMP(value, 0, peak);
#endif
}

DEVICE i32 clip(i32 value) { return narrow_clip(value, WHITE); }

/* The pixel with red, green and blue clipped. */
DEVICE pixel clipped(pixel p) {
    p.r = clip(p.r);
    p.g = clip(p.g);
    p.b = clip(p.b);
    return p;
}

/* What the entry points around point kernels are made of. */
DEVICE pixel wholly_clipped(pixel p) {
    p.a = clip(p.a);
    return clipped(p);
}
DEVICE i32 wide_clip(i64 value, i32 peak) { return (i32)CLAMP(value, (i64)0, (i64)peak); }
#define LOAD8(row, at) ((u32)(row)[at])
#define LOAD16(row, at) ((u32)(row)[2 * (at)] | ((u32)(row)[2 * (at) + 1] << 8))
