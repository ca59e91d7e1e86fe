/* Images of the software driver: a surface's memory as the CPU sees it, or a copy of it. */
#include "software_va.h"

#include <stdlib.h>
#include <string.h>

static VAStatus query_image_formats(VADriverContextP context, VAImageFormat *list, int *count)
{
    for (unsigned i = 0; i < format_count; i++)
        list[i] = formats[i].image;
    *count = format_count;
    return VA_STATUS_SUCCESS;
}

static void free_image(Driver *driver, Image *image)
{
    if (image->memory)
        memory_release(driver, image->memory);
    free(image->data);
    free(image);
}

/* Name an image and its buffer, by which it is mapped. */
static VAStatus add_image(Driver *driver, Image *image, VAImage *description)
{
    VAImage *own = &image->description;
    own->image_id = add_slot(driver, IMAGE, image);
    own->buf = own->image_id ? buffer_of_image(driver, image) : 0;
    if (!own->buf) {
        if (own->image_id)
            take_slot(driver, own->image_id, IMAGE);
        free_image(driver, image);
        return VA_STATUS_ERROR_MAX_NUM_EXCEEDED;
    }
    *description = *own;
    return VA_STATUS_SUCCESS;
}

static VAStatus create_image(VADriverContextP context, VAImageFormat *wanted, int width,
                             int height, VAImage *description)
{
    const Format *format = find_format(wanted->fourcc);
    if (!format)
        return VA_STATUS_ERROR_INVALID_IMAGE_FORMAT;
    Image *image = calloc(1, sizeof *image);
    if (!image)
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    VAImage *own = &image->description;
    own->format = format->image;
    own->width = width;
    own->height = height;
    own->num_planes = format->planes;
    own->data_size = lay_out(format, width, height, own->pitches, own->offsets);
    image->data = calloc(1, own->data_size);
    if (!image->data) {
        free(image);
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    }
    return add_image(driver_of(context), image, description);
}

static VAStatus derive_image(VADriverContextP context, VASurfaceID surface, VAImage *description)
{
    Driver *driver = driver_of(context);
    Memory *memory = find_slot(driver, surface, SURFACE);
    if (!memory)
        return VA_STATUS_ERROR_INVALID_SURFACE;
    if (driver->no_derive || memory->objects != 1)
        return VA_STATUS_ERROR_OPERATION_FAILED;
    Image *image = calloc(1, sizeof *image);
    if (!image || (driver->shadow && !(image->data = malloc(memory->object[0].size)))) {
        free(image);
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    }
    VAImage *own = &image->description;
    own->format = memory->format->image;
    own->width = memory->width;
    own->height = memory->height;
    own->num_planes = memory->format->planes;
    own->data_size = memory->object[0].size;
    memcpy(own->pitches, memory->pitch, sizeof own->pitches);
    memcpy(own->offsets, memory->offset, sizeof own->offsets);
    memory_hold(driver, memory);
    image->memory = memory;
    return add_image(driver, image, description);
}

static VAStatus destroy_image(VADriverContextP context, VAImageID id)
{
    Driver *driver = driver_of(context);
    Image *image = take_slot(driver, id, IMAGE);
    if (!image)
        return VA_STATUS_ERROR_INVALID_IMAGE;
    free(take_slot(driver, image->description.buf, BUFFER));
    free_image(driver, image);
    return VA_STATUS_SUCCESS;
}

/* A shadow is copied here; memory that is mapped itself is the application's until it unmaps. */
VAStatus image_map(Image *image, void **data)
{
    Memory *memory = image->memory;
    if (memory)
        memory_begin(memory, WRITES);
    if (memory && image->data) {
        memcpy(image->data, memory->object[0].data, image->description.data_size);
        memory_end(memory, WRITES);
    }
    *data = image->data ? image->data : memory->object[0].data;
    return VA_STATUS_SUCCESS;
}

VAStatus image_unmap(Image *image)
{
    Memory *memory = image->memory;
    if (memory && image->data) {
        memory_begin(memory, WRITES);
        memcpy(memory->object[0].data, image->data, image->description.data_size);
    }
    if (memory)
        memory_end(memory, WRITES);
    return VA_STATUS_SUCCESS;
}

typedef struct {
    unsigned surface_x, surface_y, image_x, image_y, width, height;
} Part;

static bool fits(unsigned start, unsigned length, unsigned whole)
{
    return length <= whole && start <= whole - length;
}

/* Copy the same part of every plane, out of a surface or into it. */
static VAStatus copy(VADriverContextP context, VASurfaceID surface, VAImageID id, Part part,
                     bool into_surface)
{
    Memory *memory = find_slot(driver_of(context), surface, SURFACE);
    Image *image = find_slot(driver_of(context), id, IMAGE);
    if (!memory)
        return VA_STATUS_ERROR_INVALID_SURFACE;
    if (!image || !image->data)
        return VA_STATUS_ERROR_INVALID_IMAGE;
    const VAImage *own = &image->description;
    const Format *format = memory->format;
    if (own->format.fourcc != format->image.fourcc)
        return VA_STATUS_ERROR_INVALID_IMAGE_FORMAT;
    if (!fits(part.surface_x, part.width, memory->width)
        || !fits(part.surface_y, part.height, memory->height)
        || !fits(part.image_x, part.width, own->width)
        || !fits(part.image_y, part.height, own->height))
        return VA_STATUS_ERROR_INVALID_PARAMETER;
    memory_begin(memory, into_surface ? WRITES : READS);
    for (unsigned plane = 0; plane < format->planes; plane++) {
        uint8_t *there = memory_row(memory, plane, plane_rows(format, plane, part.surface_y))
                         + row_bytes(format, plane, part.surface_x);
        uint8_t *here = image->data + own->offsets[plane]
                        + (size_t)plane_rows(format, plane, part.image_y) * own->pitches[plane]
                        + row_bytes(format, plane, part.image_x);
        size_t bytes = row_bytes(format, plane, part.width);
        for (unsigned row = plane_rows(format, plane, part.height); row > 0; row--) {
            memcpy(into_surface ? there : here, into_surface ? here : there, bytes);
            there += memory->pitch[plane];
            here += own->pitches[plane];
        }
    }
    memory_end(memory, into_surface ? WRITES : READS);
    return VA_STATUS_SUCCESS;
}

static VAStatus get_image(VADriverContextP context, VASurfaceID surface, int x, int y,
                          unsigned width, unsigned height, VAImageID image)
{
    return copy(context, surface, image, (Part){ x, y, 0, 0, width, height }, false);
}

static VAStatus put_image(VADriverContextP context, VASurfaceID surface, VAImageID image, int src_x,
                          int src_y, unsigned src_width, unsigned src_height, int dst_x, int dst_y,
                          unsigned dst_width, unsigned dst_height)
{
    if (src_width != dst_width || src_height != dst_height)
        return VA_STATUS_ERROR_UNIMPLEMENTED; /* it does not scale */
    return copy(context, surface, image,
                (Part){ dst_x, dst_y, src_x, src_y, src_width, src_height }, true);
}

void offer_images(struct VADriverVTable *table)
{
    table->vaQueryImageFormats = query_image_formats;
    table->vaCreateImage = create_image;
    table->vaDeriveImage = derive_image;
    table->vaDestroyImage = destroy_image;
    table->vaGetImage = get_image;
    table->vaPutImage = put_image;
}
