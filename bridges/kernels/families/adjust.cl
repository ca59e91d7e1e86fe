/* invert: makes the photographic negative.
 * param amount: float = 1 in [0, 1]   0 leaves the picture, 0.5 makes it gray, 1 inverts it
 */
DEVICE pixel invert(pixel p, i32 x, i32 y, i32 amount) {
    if (amount == 65536) { /* Compiled in, which leaves only this. */
        p.r = WHITE - p.r;
        p.g = WHITE - p.g;
        p.b = WHITE - p.b;
        return p;
    }
    i32 factor = 65536 - 2 * amount;
    i64 offset = (i64)WHITE * amount;
    p.r = scale_add(p.r, factor, offset);
    p.g = scale_add(p.g, factor, offset);
    p.b = scale_add(p.b, factor, offset);
    return p;
}

/* brightness: adds the same to red, green and blue.
 * param amount: float = 0 in [-1, 1]   of the way from black to white
 */
DEVICE pixel brightness(pixel p, i32 x, i32 y, i32 amount) {
    i32 offset = (i32)(((i64)amount * WHITE + 32768) >> 16);
    p.r += offset;
    p.g += offset;
    p.b += offset;
    return clipped(p);
}

/* contrast: spreads red, green and blue around the middle of their range.
 * param amount: float = 1 in [0, 8]   0 makes all of it middle gray, 1 leaves it
 */
DEVICE pixel contrast(pixel p, i32 x, i32 y, i32 amount) {
    i64 offset = ((i64)(65536 - amount) * WHITE) >> 1;
    p.r = scale_add(p.r, amount, offset);
    p.g = scale_add(p.g, amount, offset);
    p.b = scale_add(p.b, amount, offset);
    return clipped(p);
}

/* saturation: spreads red, green and blue around the luma of the pixel.
 * param amount: float = 1 in [0, 8]   0 makes it gray, 1 leaves it
 * prepare adjust
 */
DEVICE pixel saturation(pixel p, i32 x, i32 y, i32 amount, i32 red, i32 green, i32 blue) {
    /* In halves of 16 bits, as in scale_add: those of amount and rest add up to 65536 or to 0. */
    i32 rest = 65536 - amount;
    u32 sum = (u32)red * (u32)p.r + (u32)green * (u32)p.g + (u32)blue * (u32)p.b;
    u32 luma = (sum + 32768u) >> 16, part = luma * (u32)(rest & 65535) + 32768u;
    i32 high = amount >> 16, whole = (i32)luma * (rest >> 16);
    u32 low = (u32)(amount & 65535);
    p.r = p.r * high + whole + (i32)(((u32)p.r * low + part) >> 16);
    p.g = p.g * high + whole + (i32)(((u32)p.g * low + part) >> 16);
    p.b = p.b * high + whole + (i32)(((u32)p.b * low + part) >> 16);
    return clipped(p);
}
