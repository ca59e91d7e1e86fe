/* overlay: lays a picture of a file over this one.
 * param file: str   path of the picture; of a film the first one is taken
 * param x: int = 0   column of its left edge, in pixels; what lies outside is cut off
 * param y: int = 0   row of its upper edge, in pixels
 * param opacity: float = 1 in [0, 1]   what its alpha is multiplied with
 * prepare overlay
 *
 * Both are mixed as R'G'B' codes.
 */

/* (over * alpha + under * (WHITE - alpha)) / WHITE, rounded to nearest. */
DEVICE i32 overlay_mix(i32 under, u32 over, u32 alpha) {
    u32 sum = over * alpha + (u32)under * (WHITE - alpha) + WHITE / 2;
    return (i32)((sum + (sum >> 16) + 1) >> 16);
}

/* A pixel of the picture is two words: red and green, blue and alpha. */
DEVICE pixel overlay(pixel p, i32 x, i32 y, i32 left, i32 top, i32 columns, i32 rows,
                     GLOBAL const u32 *picture) {
    u32 column = (u32)(x - left), row = (u32)(y - top);
    /* A row's items skip it together; where they differ, choosing is faster than a branch. */
    if (row < (u32)rows) {
        GLOBAL const u32 *line = picture + 2 * (size_t)row * (u32)columns;
        u32 inside = column < (u32)columns, at = inside ? 2 * column : 0;
        u32 first = line[at], second = line[at + 1], alpha = inside ? second >> 16 : 0;
        p.r = overlay_mix(p.r, first & WHITE, alpha);
        p.g = overlay_mix(p.g, first >> 16, alpha);
        p.b = overlay_mix(p.b, second & WHITE, alpha);
        p.a = overlay_mix(p.a, WHITE, alpha);
    }
    return p;
}
