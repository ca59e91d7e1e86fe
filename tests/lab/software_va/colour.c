/* Colour of the software driver, in whole numbers, so that a test can compute each sample.
 *
 * With n bits a sample (8 or 10), s = 2^(n-8), and Kr, Kb of the standard's matrix (BT.601: 0.299,
 * 0.114; BT.709: 0.2126, 0.0722; Kg = 1 - Kr - Kb):
 *
 *                  reduced range    full range
 *   black              16 s             0
 *   luma span  L      219 s          2^n - 1
 *   chroma span C     224 s          2^n - 1
 *   grey              128 s           128 s      (zero of chroma)
 *
 * f(x) is 65536 x, rounded; >> rounds down; each result is clipped to what its sample can hold.
 *
 * From Y, U, V to R, G, B of 8 bits, with y = Y - black, u = U - grey, v = V - grey:
 *   R = (f(255/L) y                                     + f(2 (1-Kr) 255/C) v       + 32768) >> 16
 *   G = (f(255/L) y - f(2 (1-Kb) Kb/Kg 255/C) u         - f(2 (1-Kr) Kr/Kg 255/C) v + 32768) >> 16
 *   B = (f(255/L) y + f(2 (1-Kb) 255/C) u                                           + 32768) >> 16
 *
 * And back, where green takes what is left, so that grey stays grey:
 *   Y = black + ((a R + (f(L/255) - a - c) G + c B + 32768) >> 16)  a = f(Kr L/255), c = f(Kb L/255)
 *   U = grey + ((h B - d R - (h - d) G + 32768) >> 16)      h = f(C/510), d = f(Kr/(1-Kb) C/510)
 *   V = grey + ((h R - e B - (h - e) G + 32768) >> 16)                    e = f(Kb/(1-Kr) C/510)
 *
 * Where both sides are YUV of one matrix and range, samples keep their values, shifted from one
 * depth to the other; where they are not, they go through R, G, B.
 */
#include "software_va.h"

#include <math.h>

static int32_t fixed(double value)
{
    return lround(65536 * value);
}

static bool same(const Colour *one, const Colour *other)
{
    return one->rgb == other->rgb
           && (one->rgb || (one->bt709 == other->bt709 && one->full == other->full));
}

typedef struct {
    double red, green, blue;
    int scale, black, grey, luma, chroma;
} Constants;

static Constants constants(const Colour *colour)
{
    int scale = 1 << (colour->bits - 8), peak = (1 << colour->bits) - 1;
    double red = colour->bt709 ? 0.2126 : 0.299, blue = colour->bt709 ? 0.0722 : 0.114;
    return (Constants){ red, 1 - red - blue, blue, scale, colour->full ? 0 : 16 * scale,
                        128 * scale, colour->full ? peak : 219 * scale,
                        colour->full ? peak : 224 * scale };
}

static void prepare_decoding(Conversion *conversion)
{
    Constants k = constants(&conversion->from);
    double chroma = 255.0 / k.chroma;
    conversion->decode.y = fixed(255.0 / k.luma);
    conversion->decode.rv = fixed(2 * (1 - k.red) * chroma);
    conversion->decode.gu = fixed(2 * (1 - k.blue) * k.blue / k.green * chroma);
    conversion->decode.gv = fixed(2 * (1 - k.red) * k.red / k.green * chroma);
    conversion->decode.bu = fixed(2 * (1 - k.blue) * chroma);
    conversion->decode.black = k.black;
    conversion->decode.grey = k.grey;
}

static void prepare_encoding(Conversion *conversion)
{
    Constants k = constants(&conversion->to);
    double luma = k.luma / 255.0, chroma = k.chroma / 510.0;
    conversion->encode.yr = fixed(k.red * luma);
    conversion->encode.yb = fixed(k.blue * luma);
    conversion->encode.yg = fixed(luma) - conversion->encode.yr - conversion->encode.yb;
    conversion->encode.half = fixed(chroma);
    conversion->encode.ur = fixed(k.red / (1 - k.blue) * chroma);
    conversion->encode.vb = fixed(k.blue / (1 - k.red) * chroma);
    conversion->encode.black = k.black;
    conversion->encode.grey = k.grey;
}

Conversion prepare_conversion(Colour from, Colour to)
{
    Conversion conversion = { .from = from, .to = to, .keeps_values = same(&from, &to) };
    prepare_decoding(&conversion);
    prepare_encoding(&conversion);
    return conversion;
}

static uint16_t clip(int32_t value, unsigned bits)
{
    int32_t peak = (1 << bits) - 1;
    return value < 0 ? 0 : value > peak ? peak : value;
}

static Pixel yuv_to_rgb(const Conversion *conversion, Pixel pixel)
{
    int32_t y = pixel.sample[0] - conversion->decode.black;
    int32_t u = pixel.sample[1] - conversion->decode.grey;
    int32_t v = pixel.sample[2] - conversion->decode.grey;
    int32_t base = conversion->decode.y * y + 32768;
    int32_t red = base + conversion->decode.rv * v;
    int32_t green = base - conversion->decode.gu * u - conversion->decode.gv * v;
    int32_t blue = base + conversion->decode.bu * u;
    return (Pixel){ { clip(red >> 16, 8), clip(green >> 16, 8), clip(blue >> 16, 8) }, 255 };
}

static Pixel rgb_to_yuv(const Conversion *conversion, Pixel pixel)
{
    int32_t red = pixel.sample[0], green = pixel.sample[1], blue = pixel.sample[2];
    int32_t half = conversion->encode.half, bits = conversion->to.bits;
    int32_t y = conversion->encode.yr * red + conversion->encode.yg * green
                + conversion->encode.yb * blue;
    int32_t ur = conversion->encode.ur, vb = conversion->encode.vb;
    int32_t u = half * blue - ur * red - (half - ur) * green;
    int32_t v = half * red - vb * blue - (half - vb) * green;
    return (Pixel){ { clip(conversion->encode.black + ((y + 32768) >> 16), bits),
                      clip(conversion->encode.grey + ((u + 32768) >> 16), bits),
                      clip(conversion->encode.grey + ((v + 32768) >> 16), bits) },
                    255 };
}

static Pixel change_depth(Pixel pixel, unsigned from, unsigned to)
{
    for (unsigned i = 0; i < 3; i++)
        pixel.sample[i] = to > from ? pixel.sample[i] << (to - from)
                                    : pixel.sample[i] >> (from - to);
    return pixel;
}

Pixel convert(const Conversion *conversion, Pixel pixel)
{
    if (conversion->keeps_values)
        return change_depth(pixel, conversion->from.bits, conversion->to.bits);
    if (!conversion->from.rgb)
        pixel = yuv_to_rgb(conversion, pixel);
    if (!conversion->to.rgb)
        pixel = rgb_to_yuv(conversion, pixel);
    return pixel;
}
