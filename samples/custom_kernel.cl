/* tint: warms the picture.
 * param amount: float = 0.2 in [0, 1]   0 leaves it
 */
DEVICE pixel tint(pixel p, i32 x, i32 y, i32 amount) {
    p.r += scale(WHITE - p.r, amount);
    p.b = scale(p.b, 65536 - amount);
    return p;
}

/* grid: draws lines over the picture.
 * param step: int = 64 in [2, 4096]       pixels from line to line
 * param strength: float = 0.5 in [0, 1]   0 leaves the picture, 1 draws in white
 * param dotted: bool = false              draws every other pixel only
 */
DEVICE pixel grid(pixel p, i32 x, i32 y, i32 step, i32 strength, i32 dotted) {
    if ((x % step == 0 || y % step == 0) && !(dotted && (x + y) % 2)) {
        p.r += scale(WHITE - p.r, strength);
        p.g += scale(WHITE - p.g, strength);
        p.b += scale(WHITE - p.b, strength);
    }
    return p;
}
