/* Video processing of the software driver: scaling, and conversion between all of its formats.
 *
 * Scaling takes the nearest sample: the pixel x of an output region of w pixels is the pixel
 * floor(x s / w) of a source region of s pixels. Chroma of a surface that has a sample for two
 * pixels belongs to the even one: it is read from x / 2, and written by the pixels of even x and y,
 * counted from the surface's edge. What colours mean is in colour.c; what the application does not
 * say is BT.601 of reduced range. Alpha is kept between formats that have it, and else opaque.
 */
#include "software_va.h"

#include <stdlib.h>
#include <va/va_backend_vpp.h>
#include <va/va_vpp.h>

static bool is_rgb(const Format *format)
{
    return format->rt_format == VA_RT_FORMAT_RGB32;
}

static unsigned sample_bytes(const Format *format)
{
    return is_rgb(format) ? 1 : format->plane[0].bytes;
}

/* Formats of 16 bits a sample hold 10, and those at the top. */
static unsigned load(const uint8_t *at, unsigned bytes)
{
    return bytes == 1 ? *at : *(const uint16_t *)at >> 6;
}

static void store(uint8_t *at, unsigned bytes, unsigned value)
{
    if (bytes == 1)
        *at = value;
    else
        *(uint16_t *)at = value << 6;
}

/* Where sample 0, 1 or 2 of a pixel lies: of its planes, or of its bytes. */
static uint8_t *sample_at(const Memory *memory, unsigned sample, unsigned x, unsigned y)
{
    const Format *format = memory->format;
    if (is_rgb(format)) {
        const uint32_t masks[] = { format->image.red_mask, format->image.green_mask,
                                   format->image.blue_mask };
        return memory_row(memory, 0, y) + 4 * x + __builtin_ctz(masks[sample]) / 8;
    }
    unsigned plane = sample < format->planes ? sample : format->planes - 1;
    unsigned within = (sample - plane) * sample_bytes(format);
    return memory_row(memory, plane, y >> format->plane[plane].log2_height)
           + (x >> format->plane[plane].log2_width) * format->plane[plane].bytes + within;
}

static uint8_t *alpha_at(const Memory *memory, unsigned x, unsigned y)
{
    return memory_row(memory, 0, y) + 4 * x + 3;
}

static Pixel read_pixel(const Memory *memory, unsigned x, unsigned y)
{
    const Format *format = memory->format;
    unsigned bytes = sample_bytes(format), grey = bytes == 1 ? 128 : 512;
    Pixel pixel = { { 0, grey, grey }, 255 };
    unsigned samples = format->planes == 1 && !is_rgb(format) ? 1 : 3;
    for (unsigned i = 0; i < samples; i++)
        pixel.sample[i] = load(sample_at(memory, i, x, y), bytes);
    if (format->image.alpha_mask)
        pixel.alpha = *alpha_at(memory, x, y);
    return pixel;
}

static bool has_sample(const Format *format, unsigned sample, unsigned x, unsigned y)
{
    if (is_rgb(format) || sample == 0)
        return true;
    return format->planes > 1 && x % 2 == 0 && y % 2 == 0;
}

static void write_pixel(const Memory *memory, unsigned x, unsigned y, Pixel pixel)
{
    const Format *format = memory->format;
    for (unsigned i = 0; i < 3; i++)
        if (has_sample(format, i, x, y))
            store(sample_at(memory, i, x, y), sample_bytes(format), pixel.sample[i]);
    if (is_rgb(format))
        *alpha_at(memory, x, y) = pixel.alpha;
}

static Colour colour_of(const Memory *memory, VAProcColorStandardType standard,
                        const VAProcColorProperties *properties)
{
    const uint8_t matrix_of_bt709 = 1; /* ISO/IEC 23091-2, MatrixCoefficients */
    bool bt709 = standard == VAProcColorStandardBT709;
    if (standard == VAProcColorStandardExplicit)
        bt709 = properties->matrix_coefficients == matrix_of_bt709;
    return (Colour){ .rgb = is_rgb(memory->format), .bt709 = bt709,
                     .bits = sample_bytes(memory->format) == 1 ? 8 : 10,
                     .full = properties->color_range == VA_SOURCE_RANGE_FULL };
}

static bool region_fits(const VARectangle *region, const Memory *memory)
{
    return region->x >= 0 && region->y >= 0 && region->width && region->height
           && (unsigned)region->x + region->width <= memory->width
           && (unsigned)region->y + region->height <= memory->height;
}

static VARectangle region_or_all(const VARectangle *region, const Memory *memory)
{
    return region ? *region : (VARectangle){ 0, 0, memory->width, memory->height };
}

/* A background that cannot be seen is not drawn. */
static void fill(const Memory *memory, uint32_t argb, Colour colour)
{
    Conversion conversion = prepare_conversion((Colour){ .rgb = true, .bits = 8 }, colour);
    Pixel pixel = { { argb >> 16 & 255, argb >> 8 & 255, argb & 255 }, argb >> 24 };
    if (!pixel.alpha)
        return;
    pixel = convert(&conversion, pixel);
    for (unsigned y = 0; y < memory->height; y++)
        for (unsigned x = 0; x < memory->width; x++)
            write_pixel(memory, x, y, pixel);
}

static void draw(const Memory *source, VARectangle from, const Memory *target, VARectangle to,
                 const Conversion *conversion)
{
    for (unsigned y = 0; y < to.height; y++)
        for (unsigned x = 0; x < to.width; x++) {
            unsigned source_x = from.x + x * from.width / to.width;
            unsigned source_y = from.y + y * from.height / to.height;
            write_pixel(target, to.x + x, to.y + y,
                        convert(conversion, read_pixel(source, source_x, source_y)));
        }
}

static VAStatus run(const Memory *source, const Memory *target,
                    const VAProcPipelineParameterBuffer *wanted)
{
    VARectangle from = region_or_all(wanted->surface_region, source);
    VARectangle to = region_or_all(wanted->output_region, target);
    Colour before = colour_of(source, wanted->surface_color_standard,
                              &wanted->input_color_properties);
    Colour after = colour_of(target, wanted->output_color_standard,
                             &wanted->output_color_properties);
    Conversion conversion = prepare_conversion(before, after);
    if (!region_fits(&from, source) || !region_fits(&to, target))
        return VA_STATUS_ERROR_INVALID_PARAMETER;
    memory_begin(source, READS);
    memory_begin(target, WRITES);
    if (to.width != target->width || to.height != target->height)
        fill(target, wanted->output_background_color, after);
    draw(source, from, target, to, &conversion);
    memory_end(target, WRITES);
    memory_end(source, READS);
    return VA_STATUS_SUCCESS;
}

static VAStatus render(Driver *driver, Context *context, const Buffer *buffer)
{
    const VAProcPipelineParameterBuffer *wanted = (const void *)buffer->data;
    if (buffer->type != VAProcPipelineParameterBufferType)
        return VA_STATUS_ERROR_UNSUPPORTED_BUFFERTYPE;
    if (buffer->size < sizeof *wanted)
        return VA_STATUS_ERROR_INVALID_BUFFER;
    if (wanted->num_filters)
        return VA_STATUS_ERROR_UNSUPPORTED_FILTER;
    if (wanted->rotation_state || wanted->mirror_state || wanted->num_additional_outputs)
        return VA_STATUS_ERROR_UNIMPLEMENTED;
    Memory *source = find_slot(driver, wanted->surface, SURFACE);
    if (!source || source == context->target)
        return VA_STATUS_ERROR_INVALID_SURFACE;
    memory_hold(driver, source);
    VAStatus status = run(source, context->target, wanted);
    memory_release(driver, source);
    return status;
}

/* Nothing outlasts a picture, yet a context without a state is one that failed. */
static void *open_nothing(void)
{
    return malloc(1);
}

const Work processing = { .open = open_nothing, .render = render, .close = free };

static VAStatus query_filters(VADriverContextP context, VAContextID id, VAProcFilterType *filters,
                              unsigned *count)
{
    *count = 0;
    return VA_STATUS_SUCCESS;
}

static VAStatus query_filter_caps(VADriverContextP context, VAContextID id, VAProcFilterType type,
                                  void *caps, unsigned *count)
{
    *count = 0;
    return VA_STATUS_ERROR_UNSUPPORTED_FILTER;
}

static VAStatus query_pipeline_caps(VADriverContextP context, VAContextID id, VABufferID *filters,
                                    unsigned filter_count, VAProcPipelineCaps *caps)
{
    static VAProcColorStandardType standards[] = { VAProcColorStandardBT601,
                                                   VAProcColorStandardBT709 };
    static uint32_t fourccs[MAX_FORMATS];
    for (unsigned i = 0; i < format_count; i++)
        fourccs[i] = formats[i].image.fourcc;
    *caps = (VAProcPipelineCaps){
        .input_color_standards = standards, .num_input_color_standards = 2,
        .output_color_standards = standards, .num_output_color_standards = 2,
        .rotation_flags = 1 << VA_ROTATION_NONE,
        .input_pixel_format = fourccs, .num_input_pixel_formats = format_count,
        .output_pixel_format = fourccs, .num_output_pixel_formats = format_count,
        .min_input_width = 1, .min_input_height = 1,
        .min_output_width = 1, .min_output_height = 1,
        .max_input_width = MAX_LENGTH, .max_input_height = MAX_LENGTH,
        .max_output_width = MAX_LENGTH, .max_output_height = MAX_LENGTH,
    };
    return filter_count ? VA_STATUS_ERROR_UNSUPPORTED_FILTER : VA_STATUS_SUCCESS;
}

void offer_processing(VADriverContextP context)
{
    struct VADriverVTableVPP *table = context->vtable_vpp;
    table->version = VA_DRIVER_VTABLE_VPP_VERSION;
    table->vaQueryVideoProcFilters = query_filters;
    table->vaQueryVideoProcFilterCaps = query_filter_caps;
    table->vaQueryVideoProcPipelineCaps = query_pipeline_caps;
}
