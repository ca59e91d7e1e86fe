/* gamma: raises red, green and blue to a power: values above 1 brighten, those below 1 darken.
 * param value: float = 1 in [0.1, 10]   each signal becomes signal ** (1 / value)
 * prepare gamma
 */
DEVICE pixel gamma(pixel p, i32 x, i32 y, GLOBAL const i32 *curve) {
    p.r = curve[p.r];
    p.g = curve[p.g];
    p.b = curve[p.b];
    return p;
}
