/* The pixel formats of the software driver, and how their planes lie in one block of memory. */
#include "software_va.h"

#include <drm_fourcc.h>

#define RGB(name, red, blue, alpha) \
    { name, VA_LSB_FIRST, 32, (alpha) ? 32 : 24, red, 0xff00, blue, alpha, { 0 } }
#define YUV(name, bits) { name, VA_LSB_FIRST, bits, 0, 0, 0, 0, 0, { 0 } }

const Format formats[] = {
    { YUV(VA_FOURCC_NV12, 12), VA_RT_FORMAT_YUV420, DRM_FORMAT_NV12, 2,
      { { 0, 0, 1, DRM_FORMAT_R8 }, { 1, 1, 2, DRM_FORMAT_GR88 } } },
    { YUV(VA_FOURCC_P010, 24), VA_RT_FORMAT_YUV420_10, DRM_FORMAT_P010, 2,
      { { 0, 0, 2, DRM_FORMAT_R16 }, { 1, 1, 4, DRM_FORMAT_GR1616 } } },
    { YUV(VA_FOURCC_I420, 12), VA_RT_FORMAT_YUV420, DRM_FORMAT_YUV420, 3,
      { { 0, 0, 1, DRM_FORMAT_R8 }, { 1, 1, 1, DRM_FORMAT_R8 }, { 1, 1, 1, DRM_FORMAT_R8 } } },
    { YUV(VA_FOURCC_Y800, 8), VA_RT_FORMAT_YUV400, DRM_FORMAT_R8, 1,
      { { 0, 0, 1, DRM_FORMAT_R8 } } },
    { RGB(VA_FOURCC_BGRA, 0xff0000, 0xff, 0xff000000), VA_RT_FORMAT_RGB32, DRM_FORMAT_ARGB8888, 1,
      { { 0, 0, 4, DRM_FORMAT_ARGB8888 } } },
    { RGB(VA_FOURCC_BGRX, 0xff0000, 0xff, 0), VA_RT_FORMAT_RGB32, DRM_FORMAT_XRGB8888, 1,
      { { 0, 0, 4, DRM_FORMAT_XRGB8888 } } },
    { RGB(VA_FOURCC_RGBA, 0xff, 0xff0000, 0xff000000), VA_RT_FORMAT_RGB32, DRM_FORMAT_ABGR8888, 1,
      { { 0, 0, 4, DRM_FORMAT_ABGR8888 } } },
};
const unsigned format_count = sizeof formats / sizeof *formats;

const Format *find_format(uint32_t fourcc)
{
    for (unsigned i = 0; i < format_count; i++)
        if (formats[i].image.fourcc == fourcc)
            return &formats[i];
    return NULL;
}

static unsigned halved(unsigned length, unsigned log2)
{
    return (length + (1u << log2) - 1) >> log2;
}

unsigned plane_rows(const Format *format, unsigned plane, unsigned height)
{
    return halved(height, format->plane[plane].log2_height);
}

unsigned row_bytes(const Format *format, unsigned plane, unsigned width)
{
    return halved(width, format->plane[plane].log2_width) * format->plane[plane].bytes;
}

/* Rows start at multiples of 64 bytes, planes after a multiple of 16 rows, as on real hardware. */
size_t lay_out(const Format *format, unsigned width, unsigned height, uint32_t *pitch,
               uint32_t *offset)
{
    size_t size = 0;
    for (unsigned plane = 0; plane < format->planes; plane++) {
        pitch[plane] = (row_bytes(format, plane, width) + 63) & ~63u;
        offset[plane] = size;
        size += (size_t)pitch[plane] * ((plane_rows(format, plane, height) + 15) & ~15u);
    }
    return size;
}
