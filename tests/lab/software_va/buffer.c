/* Buffers of the software driver: parameters, coded data, and the pixels of images. */
#include "software_va.h"

#include <stdlib.h>
#include <string.h>

unsigned buffer_of_image(Driver *driver, Image *image)
{
    Buffer *buffer = calloc(1, sizeof *buffer);
    if (!buffer)
        return 0;
    *buffer = (Buffer){ .type = VAImageBufferType, .size = image->description.data_size,
                        .count = 1, .image = image };
    unsigned id = add_slot(driver, BUFFER, buffer);
    if (!id)
        free(buffer);
    return id;
}

static bool allocate(Buffer *buffer, const void *data)
{
    size_t size = (size_t)buffer->size * buffer->count;
    buffer->data = calloc(size ? size : 1, 1);
    if (buffer->data && data)
        memcpy(buffer->data, data, size);
    buffer->segment.buf = buffer->data;
    return buffer->data;
}

static VAStatus create_buffer(VADriverContextP context, VAContextID user, VABufferType type,
                              unsigned size, unsigned count, void *data, VABufferID *id)
{
    Buffer *buffer = calloc(1, sizeof *buffer);
    if (!buffer)
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    *buffer = (Buffer){ .type = type, .size = size, .count = count };
    if (!allocate(buffer, data)) {
        free(buffer);
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    }
    *id = add_slot(driver_of(context), BUFFER, buffer);
    if (!*id) {
        free(buffer->data);
        free(buffer);
        return VA_STATUS_ERROR_MAX_NUM_EXCEEDED;
    }
    return VA_STATUS_SUCCESS;
}

static VAStatus set_element_count(VADriverContextP context, VABufferID id, unsigned count)
{
    Buffer *buffer = find_slot(driver_of(context), id, BUFFER);
    if (!buffer || count > buffer->count)
        return buffer ? VA_STATUS_ERROR_INVALID_PARAMETER : VA_STATUS_ERROR_INVALID_BUFFER;
    buffer->count = count;
    return VA_STATUS_SUCCESS;
}

/* The buffer of an image goes with its image, and not before. */
static VAStatus destroy_buffer(VADriverContextP context, VABufferID id)
{
    Buffer *buffer = find_slot(driver_of(context), id, BUFFER);
    if (!buffer || buffer->image || !take_slot(driver_of(context), id, BUFFER))
        return VA_STATUS_ERROR_INVALID_BUFFER;
    free(buffer->data);
    free(buffer);
    return VA_STATUS_SUCCESS;
}

static VAStatus map_buffer(VADriverContextP context, VABufferID id, void **data)
{
    Buffer *buffer = find_slot(driver_of(context), id, BUFFER);
    if (!buffer)
        return VA_STATUS_ERROR_INVALID_BUFFER;
    if (buffer->image)
        return image_map(buffer->image, data);
    *data = buffer->type == VAEncCodedBufferType ? (void *)&buffer->segment : buffer->data;
    return VA_STATUS_SUCCESS;
}

static VAStatus unmap_buffer(VADriverContextP context, VABufferID id)
{
    Buffer *buffer = find_slot(driver_of(context), id, BUFFER);
    if (!buffer)
        return VA_STATUS_ERROR_INVALID_BUFFER;
    return buffer->image ? image_unmap(buffer->image) : VA_STATUS_SUCCESS;
}

static VAStatus buffer_info(VADriverContextP context, VABufferID id, VABufferType *type,
                            unsigned *size, unsigned *count)
{
    const Buffer *buffer = find_slot(driver_of(context), id, BUFFER);
    if (!buffer)
        return VA_STATUS_ERROR_INVALID_BUFFER;
    *type = buffer->type;
    *size = buffer->size;
    *count = buffer->count;
    return VA_STATUS_SUCCESS;
}

/* All work is done when vaEndPicture returns. */
static VAStatus sync_buffer(VADriverContextP context, VABufferID id, uint64_t timeout_ns)
{
    return find_slot(driver_of(context), id, BUFFER) ? VA_STATUS_SUCCESS
                                                     : VA_STATUS_ERROR_INVALID_BUFFER;
}

#if VA_CHECK_VERSION(1, 21, 0)
static VAStatus map_buffer2(VADriverContextP context, VABufferID id, void **data, uint32_t flags)
{
    return map_buffer(context, id, data);
}
#endif

void offer_buffers(struct VADriverVTable *table)
{
    table->vaCreateBuffer = create_buffer;
    table->vaBufferSetNumElements = set_element_count;
    table->vaDestroyBuffer = destroy_buffer;
    table->vaMapBuffer = map_buffer;
    table->vaUnmapBuffer = unmap_buffer;
    table->vaBufferInfo = buffer_info;
    table->vaSyncBuffer = sync_buffer;
#if VA_CHECK_VERSION(1, 21, 0)
    table->vaMapBuffer2 = map_buffer2;
#endif
}
