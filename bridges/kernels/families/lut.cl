/* lut: looks colours up in a table that a .cube file holds.
 * param file: str   path of the .cube file
 * param interpolation: str = tetrahedral in {tetrahedral, trilinear}   between colours of a 3D table
 * prepare lut
 *
 * Places between the entries of an axis, and weights, have 24 bits of fraction; the entries of a 3D
 * table are codes with 8 bits of fraction, and may lie outside 0 to WHITE.
 */
#define LUT_ONE (1 << 24)

/* A code's place on an axis, which is told by its first code, with 12 bits of fraction, and by the
 * entries per code as a mantissa and a shift. */
DEVICE u32 lut_place(i32 code, i32 size, GLOBAL const i32 *axis) {
    i64 place = ((i64)(code * 4096 - axis[0]) * (i64)axis[1]) >> axis[2];
    return (u32)CLAMP(place, (i64)0, (i64)(size - 1) << 24);
}

/* Products have 32 bits of fraction. */
DEVICE i32 lut_code(i64 sum) { return (i32)((sum + ((i64)1 << 31)) >> 32); }

/* From the nearest entry below to the nearest above, along the axis of the largest fraction first. */
DEVICE pixel lut_tetrahedral(pixel p, i32 r, i32 g, i32 b, i32 size, GLOBAL const i32 *near) {
    i32 low = MIN(r, MIN(g, b)), high = MAX(r, MAX(g, b)), middle = r + g + b - low - high;
    i32 red = 3, green = 3 * size, blue = 3 * size * size, far = red + green + blue;
    i32 first = r == high ? red : g == high ? green : blue;
    i32 second = far - (b == low ? blue : g == low ? green : red);
    i32 w0 = LUT_ONE - high, w1 = high - middle, w2 = middle - low;
#define LUT_SUM(c)                                                                               \
    lut_code((i64)near[c] * w0 + (i64)near[first + c] * w1 + (i64)near[second + c] * w2 +        \
             (i64)near[far + c] * low)
    p.r = LUT_SUM(0);
    p.g = LUT_SUM(1);
    p.b = LUT_SUM(2);
    return clipped(p);
}

DEVICE i32 lut_between(i32 a, i32 b, i32 weight) {
    return (i32)(((i64)a * (LUT_ONE - weight) + (i64)b * weight + LUT_ONE / 2) >> 24);
}

DEVICE i32 lut_trilinear(i32 r, i32 g, i32 b, i32 size, GLOBAL const i32 *near) {
    i32 green = 3 * size, blue = 3 * size * size;
    i32 c00 = lut_between(near[0], near[3], r);
    i32 c10 = lut_between(near[green], near[green + 3], r);
    i32 c01 = lut_between(near[blue], near[blue + 3], r);
    i32 c11 = lut_between(near[blue + green], near[blue + green + 3], r);
    return (lut_between(lut_between(c00, c10, g), lut_between(c01, c11, g), b) + 128) >> 8;
}

DEVICE pixel lut(pixel p, i32 x, i32 y, i32 kind, i32 size, GLOBAL const i32 *axes,
                 GLOBAL const i32 *table) {
    if (kind == 1) {
        p.r = table[p.r];
        p.g = table[p.g + size];
        p.b = table[p.b + 2 * size];
        return p;
    }
    u32 r = lut_place(p.r, size, axes), g = lut_place(p.g, size, axes + 3);
    u32 b = lut_place(p.b, size, axes + 6);
    i32 i = MIN((i32)(r >> 24), size - 2), j = MIN((i32)(g >> 24), size - 2);
    i32 k = MIN((i32)(b >> 24), size - 2);
    GLOBAL const i32 *near = table + (size_t)((k * size + j) * size + i) * 3;
    i32 s = (i32)(r - ((u32)i << 24)), t = (i32)(g - ((u32)j << 24)), u = (i32)(b - ((u32)k << 24));
    if (kind == 3) return lut_tetrahedral(p, s, t, u, size, near);
    p.r = lut_trilinear(s, t, u, size, near);
    p.g = lut_trilinear(s, t, u, size, near + 1);
    p.b = lut_trilinear(s, t, u, size, near + 2);
    return clipped(p);
}
