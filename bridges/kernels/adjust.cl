/* invert: the photographic negative.
 * param amount: float = 1 in [0, 1]   0 leaves the picture, 0.5 makes it gray, 1 inverts it
 */
DEVICE pixel invert(pixel p, i32 x, i32 y, i32 amount) {
    p.r = scale(p.r, 65536 - amount) + scale(WHITE - p.r, amount);
    p.g = scale(p.g, 65536 - amount) + scale(WHITE - p.g, amount);
    p.b = scale(p.b, 65536 - amount) + scale(WHITE - p.b, amount);
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
    i32 offset = (i32)(((i64)(65536 - amount) * WHITE + 65536) >> 17);
    p.r = scale(p.r, amount) + offset;
    p.g = scale(p.g, amount) + offset;
    p.b = scale(p.b, amount) + offset;
    return clipped(p);
}

/* saturation: spreads red, green and blue around the luma of the pixel.
 * param amount: float = 1 in [0, 8]   0 makes it gray, 1 leaves it
 * prepare adjust
 */
DEVICE pixel saturation(pixel p, i32 x, i32 y, i32 amount, i32 red, i32 green, i32 blue) {
    u32 sum = (u32)red * (u32)p.r + (u32)green * (u32)p.g + (u32)blue * (u32)p.b;
    i32 luma = (i32)((sum + 32768u) >> 16);
    p.r = scale(p.r, amount) + scale(luma, 65536 - amount);
    p.g = scale(p.g, amount) + scale(luma, 65536 - amount);
    p.b = scale(p.b, amount) + scale(luma, 65536 - amount);
    return clipped(p);
}
