/* Contexts of the software driver: they take the buffers of a picture to the work that it is. */
#include "software_va.h"

#include <stdlib.h>

static void let_go_of_target(Driver *driver, Context *context)
{
    if (context->target)
        memory_release(driver, context->target);
    context->target = NULL;
}

static VAStatus create_context(VADriverContextP va, VAConfigID config, int width, int height,
                               int flags, VASurfaceID *targets, int target_count, VAContextID *id)
{
    const Offer *offer = find_slot(driver_of(va), config, CONFIG);
    if (!offer)
        return VA_STATUS_ERROR_INVALID_CONFIG;
    Context *context = calloc(1, sizeof *context);
    void *state = context ? offer->work->open() : NULL;
    if (!state) {
        free(context);
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    }
    *context = (Context){ .offer = offer, .state = state };
    *id = add_slot(driver_of(va), CONTEXT, context);
    if (!*id) {
        offer->work->close(state);
        free(context);
        return VA_STATUS_ERROR_MAX_NUM_EXCEEDED;
    }
    return VA_STATUS_SUCCESS;
}

static VAStatus destroy_context(VADriverContextP va, VAContextID id)
{
    Context *context = take_slot(driver_of(va), id, CONTEXT);
    if (!context)
        return VA_STATUS_ERROR_INVALID_CONTEXT;
    let_go_of_target(driver_of(va), context);
    context->offer->work->close(context->state);
    free(context);
    return VA_STATUS_SUCCESS;
}

static VAStatus begin_picture(VADriverContextP va, VAContextID id, VASurfaceID target)
{
    Driver *driver = driver_of(va);
    Context *context = find_slot(driver, id, CONTEXT);
    Memory *memory = find_slot(driver, target, SURFACE);
    if (!context)
        return VA_STATUS_ERROR_INVALID_CONTEXT;
    if (!memory)
        return VA_STATUS_ERROR_INVALID_SURFACE;
    if (!offer_takes(context->offer, memory->format->image.fourcc))
        return VA_STATUS_ERROR_UNSUPPORTED_RT_FORMAT;
    let_go_of_target(driver, context); /* of a picture that was never ended */
    memory_hold(driver, memory);
    context->target = memory;
    if (context->offer->work->begin)
        context->offer->work->begin(context);
    return VA_STATUS_SUCCESS;
}

/* Buffers are read here: the application may destroy them before the picture ends. */
static VAStatus render_picture(VADriverContextP va, VAContextID id, VABufferID *buffers, int count)
{
    Driver *driver = driver_of(va);
    Context *context = find_slot(driver, id, CONTEXT);
    if (!context || !context->target)
        return VA_STATUS_ERROR_INVALID_CONTEXT;
    for (int i = 0; i < count; i++) {
        const Buffer *buffer = find_slot(driver, buffers[i], BUFFER);
        if (!buffer || buffer->image)
            return VA_STATUS_ERROR_INVALID_BUFFER;
        VAStatus status = context->offer->work->render(driver, context, buffer);
        if (status != VA_STATUS_SUCCESS)
            return status;
    }
    return VA_STATUS_SUCCESS;
}

static VAStatus end_picture(VADriverContextP va, VAContextID id)
{
    Driver *driver = driver_of(va);
    Context *context = find_slot(driver, id, CONTEXT);
    if (!context || !context->target)
        return VA_STATUS_ERROR_INVALID_CONTEXT;
    VAStatus status = VA_STATUS_SUCCESS;
    if (context->offer->work->end)
        status = context->offer->work->end(driver, context);
    let_go_of_target(driver, context);
    return status;
}

void offer_contexts(struct VADriverVTable *table)
{
    table->vaCreateContext = create_context;
    table->vaDestroyContext = destroy_context;
    table->vaBeginPicture = begin_picture;
    table->vaRenderPicture = render_picture;
    table->vaEndPicture = end_picture;
}
