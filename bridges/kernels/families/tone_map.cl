/* tone_map: maps HDR (PQ or HLG, BT.2020) to SDR (BT.709), with the curve of Report BT.2390.
 * param peak: float = 1000 in [100, 10000]   of the display that the picture was mastered on, in cd/m2
 * param target: float = 100 in [50, 1000]   what white of SDR stands for, in cd/m2; 100 in BT.2035
 * param transfer: str = auto in {auto, pq, hlg}   how the picture is coded; auto is what it is tagged with
 * param format: str = auto   the target's pixel format, of the same colour model; auto is the picture's own
 * prepare tone_map
 *
 * The tables are those of tone_map.py. Light of SDR is in units of 2^-30 of white.
 */

/* The logarithm of base 2 with 16 fractional bits, linear between powers of two, and all below 64. */
DEVICE u32 tone_log(u32 light) {
    u32 zeros = LEADING_ZEROS(light | 64u);
    return ((25u - zeros) << 16) + ((light << zeros) >> 15);
}

/* An entry of a table, linear between two: place has 9 fractional bits. */
DEVICE u32 tone_between(GLOBAL const u32 *table, u32 place) {
    u32 low = table[(size_t)(place >> 9)];
    i64 step = (i64)(i32)(table[(size_t)(place >> 9) + 1] - low) * (i64)(i32)(place & 511u);
    return low + (u32)((step + 256) >> 9);
}

/* An entry of the table of light holds 28 bits and how far to shift them, in the lowest 4 bits. */
DEVICE u32 tone_scene(u32 entry) { return ((entry >> 4) << 2) >> (entry & 15u); }

DEVICE i32 tone_light(u32 entry, u32 gain) {
    return (i32)(((((u64)(entry >> 4) * gain) >> ((entry & 15u) + 21u)) + 1u) >> 1);
}

/* What a row of weights makes of light, as a signal of 0 to WHITE.
 *
 * An entry of the table of signals holds 19 bits, 3 of them fractional, and in the lowest 13 bits, 5
 * of them fractional, how far it is to the next one.
 */
DEVICE i32 tone_signal(
    i32 r, i32 g, i32 b, GLOBAL const i32 *weights, GLOBAL const u32 *signals
) {
    i64 light = (i64)weights[0] * r + (i64)weights[1] * g + (i64)weights[2] * b;
    light = CLAMP((light + (1 << 29)) >> 30, (i64)0, (i64)1 << 30);
    u32 place = tone_log((u32)light), entry = signals[(size_t)(place >> 9)];
    return (i32)(((entry >> 13 << 11) + (entry & 8191u) * (place & 511u) + (1u << 13)) >> 14);
}

DEVICE pixel tone_map(
    pixel p, i32 x, i32 y, i32 is_hlg, GLOBAL const u32 *lights, GLOBAL const u32 *ootf,
    GLOBAL const u32 *gains, GLOBAL const i32 *weights, GLOBAL const u32 *signals
) {
    u32 r = lights[(size_t)p.r], g = lights[(size_t)p.g], b = lights[(size_t)p.b], gain;
    if (is_hlg) {
        u32 red = tone_scene(r), green = tone_scene(g), blue = tone_scene(b);
        /* BT.2100's 0.2627, 0.6780 and 0.0593. */
        u64 luminance = (u64)red * 17216u + (u64)green * 44434u + (u64)blue * 3886u;
        u64 system = tone_between(ootf, tone_log((u32)(luminance >> 16)));
        u32 light = (u32)((MAX(MAX(red, green), blue) * system) >> 26);
        gain = (u32)((system * tone_between(gains, tone_log(light))) >> 26);
    } else {
        gain = gains[(size_t)MAX(MAX(p.r, p.g), p.b)];
    }
    i32 red = tone_light(r, gain), green = tone_light(g, gain), blue = tone_light(b, gain);
    p.r = tone_signal(red, green, blue, weights, signals);
    p.g = tone_signal(red, green, blue, weights + 3, signals);
    p.b = tone_signal(red, green, blue, weights + 6, signals);
    return p;
}
