/* Surfaces of the software driver: made, taken in and handed out as DRM PRIME handles. */
#define _GNU_SOURCE
#include "software_va.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static VAStatus create_surface(Driver *driver, const Format *format, unsigned width,
                               unsigned height, const VADRMPRIMESurfaceDescriptor *from,
                               VASurfaceID *id)
{
    Memory *memory;
    VAStatus status = memory_create(driver, format, width, height, from, &memory);
    if (status != VA_STATUS_SUCCESS)
        return status;
    *id = add_slot(driver, SURFACE, memory);
    if (!*id) {
        memory_release(driver, memory);
        return VA_STATUS_ERROR_MAX_NUM_EXCEEDED;
    }
    return VA_STATUS_SUCCESS;
}

static VAStatus destroy_surfaces(VADriverContextP context, VASurfaceID *ids, int count)
{
    VAStatus status = VA_STATUS_SUCCESS;
    for (int i = 0; i < count; i++) {
        Memory *memory = take_slot(driver_of(context), ids[i], SURFACE);
        if (memory)
            memory_release(driver_of(context), memory);
        else
            status = VA_STATUS_ERROR_INVALID_SURFACE;
    }
    return status;
}

static const Format *default_format(unsigned rt_format)
{
    for (unsigned i = 0; i < format_count; i++)
        if (formats[i].rt_format == rt_format)
            return &formats[i];
    return NULL;
}

static VAStatus create_surfaces2(VADriverContextP context, unsigned rt_format, unsigned width,
                                 unsigned height, VASurfaceID *ids, unsigned count,
                                 VASurfaceAttrib *attributes, unsigned attribute_count)
{
    const Format *format = default_format(rt_format);
    const VADRMPRIMESurfaceDescriptor *from = NULL;
    uint32_t memory_type = VA_SURFACE_ATTRIB_MEM_TYPE_VA;
    for (unsigned i = 0; i < attribute_count; i++) {
        if (attributes[i].type == VASurfaceAttribPixelFormat)
            format = find_format(attributes[i].value.value.i);
        else if (attributes[i].type == VASurfaceAttribMemoryType)
            memory_type = attributes[i].value.value.i;
        else if (attributes[i].type == VASurfaceAttribExternalBufferDescriptor)
            from = attributes[i].value.value.p;
    }
    if (!format || format->rt_format != rt_format)
        return VA_STATUS_ERROR_UNSUPPORTED_RT_FORMAT;
    if (!width || !height || width > MAX_LENGTH || height > MAX_LENGTH)
        return VA_STATUS_ERROR_RESOLUTION_NOT_SUPPORTED;
    if (memory_type != VA_SURFACE_ATTRIB_MEM_TYPE_VA
        && memory_type != VA_SURFACE_ATTRIB_MEM_TYPE_DRM_PRIME_2)
        return VA_STATUS_ERROR_UNSUPPORTED_MEMORY_TYPE;
    if (memory_type == VA_SURFACE_ATTRIB_MEM_TYPE_VA)
        from = NULL;
    else if (!from)
        return VA_STATUS_ERROR_INVALID_PARAMETER;
    for (unsigned i = 0; i < count; i++) {
        VAStatus status = create_surface(driver_of(context), format, width, height,
                                         from ? &from[i] : NULL, &ids[i]);
        if (status != VA_STATUS_SUCCESS) {
            destroy_surfaces(context, ids, i);
            return status;
        }
    }
    return VA_STATUS_SUCCESS;
}

static VAStatus create_surfaces(VADriverContextP context, int width, int height, int rt_format,
                                int count, VASurfaceID *ids)
{
    return create_surfaces2(context, rt_format, width, height, ids, count, NULL, 0);
}

static void set_integer(VASurfaceAttrib *attribute, VASurfaceAttribType type, uint32_t settable,
                        int32_t value)
{
    *attribute = (VASurfaceAttrib){ type, VA_SURFACE_ATTRIB_GETTABLE | settable,
                                    { .type = VAGenericValueTypeInteger, .value.i = value } };
}

static VAStatus query_surface_attributes(VADriverContextP context, VAConfigID config,
                                         VASurfaceAttrib *list, unsigned *count)
{
    const Offer *offer = find_slot(driver_of(context), config, CONFIG);
    if (!offer)
        return VA_STATUS_ERROR_INVALID_CONFIG;
    unsigned needed = 6;
    for (unsigned i = 0; i < format_count; i++)
        needed += offer_takes(offer, formats[i].image.fourcc);
    if (list && *count < needed)
        return VA_STATUS_ERROR_MAX_NUM_EXCEEDED;
    *count = needed;
    if (!list)
        return VA_STATUS_SUCCESS;
    for (unsigned i = 0; i < format_count; i++)
        if (offer_takes(offer, formats[i].image.fourcc))
            set_integer(list++, VASurfaceAttribPixelFormat, VA_SURFACE_ATTRIB_SETTABLE,
                        formats[i].image.fourcc);
    set_integer(list++, VASurfaceAttribMemoryType, VA_SURFACE_ATTRIB_SETTABLE,
                VA_SURFACE_ATTRIB_MEM_TYPE_VA | VA_SURFACE_ATTRIB_MEM_TYPE_DRM_PRIME_2);
    set_integer(list++, VASurfaceAttribMinWidth, 0, 1);
    set_integer(list++, VASurfaceAttribMinHeight, 0, 1);
    set_integer(list++, VASurfaceAttribMaxWidth, 0, MAX_LENGTH);
    set_integer(list++, VASurfaceAttribMaxHeight, 0, MAX_LENGTH);
    *list = (VASurfaceAttrib){ VASurfaceAttribExternalBufferDescriptor, VA_SURFACE_ATTRIB_SETTABLE,
                               { .type = VAGenericValueTypePointer } };
    return VA_STATUS_SUCCESS;
}

static VAStatus sync_surface(VADriverContextP context, VASurfaceID id)
{
    if (!find_slot(driver_of(context), id, SURFACE))
        return VA_STATUS_ERROR_INVALID_SURFACE;
    __atomic_add_fetch(&software_va_syncs, 1, __ATOMIC_RELAXED);
    return VA_STATUS_SUCCESS;
}

static VAStatus sync_surface2(VADriverContextP context, VASurfaceID id, uint64_t timeout_ns)
{
    return sync_surface(context, id);
}

static VAStatus query_surface_status(VADriverContextP context, VASurfaceID id,
                                     VASurfaceStatus *status)
{
    *status = VASurfaceReady;
    return find_slot(driver_of(context), id, SURFACE) ? VA_STATUS_SUCCESS
                                                      : VA_STATUS_ERROR_INVALID_SURFACE;
}

/* The kernel holds the descriptor to the access asked for: the memfd is opened anew with it. A
 * dma-buf has no name to open it by, so there this fails. */
static int open_read_only(int fd)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static void describe_layers(const Memory *memory, uint32_t flags, VADRMPRIMESurfaceDescriptor *to)
{
    bool separate = flags & VA_EXPORT_SURFACE_SEPARATE_LAYERS;
    to->num_layers = separate ? memory->format->planes : 1;
    for (unsigned plane = 0; plane < memory->format->planes; plane++) {
        unsigned layer = separate ? plane : 0, i = separate ? 0 : plane;
        to->layers[layer].drm_format = separate ? memory->format->plane[plane].drm
                                                : memory->format->drm;
        to->layers[layer].num_planes = i + 1;
        to->layers[layer].object_index[i] = memory->index[plane];
        to->layers[layer].offset[i] = memory->offset[plane];
        to->layers[layer].pitch[i] = memory->pitch[plane];
    }
}

static VAStatus export_surface_handle(VADriverContextP context, VASurfaceID id,
                                      uint32_t memory_type, uint32_t flags, void *descriptor)
{
    Driver *driver = driver_of(context);
    const Memory *memory = find_slot(driver, id, SURFACE);
    VADRMPRIMESurfaceDescriptor *to = descriptor;
    bool writes = !driver->read_only || (flags & VA_EXPORT_SURFACE_WRITE_ONLY);
    if (driver->no_export)
        return VA_STATUS_ERROR_UNIMPLEMENTED;
    if (fails_now(&driver->export_failure))
        return VA_STATUS_ERROR_OPERATION_FAILED;
    if (!memory)
        return VA_STATUS_ERROR_INVALID_SURFACE;
    if (memory_type != VA_SURFACE_ATTRIB_MEM_TYPE_DRM_PRIME_2)
        return VA_STATUS_ERROR_UNSUPPORTED_MEMORY_TYPE;
    memset(to, 0, sizeof *to);
    to->fourcc = memory->format->image.fourcc;
    to->width = memory->width;
    to->height = memory->height;
    for (unsigned i = 0; i < memory->objects; i++) {
        int fd = writes ? fcntl(memory->object[i].fd, F_DUPFD_CLOEXEC, 0)
                        : open_read_only(memory->object[i].fd);
        if (fd < 0) {
            while (i--)
                close(to->objects[i].fd);
            return VA_STATUS_ERROR_ALLOCATION_FAILED;
        }
        to->objects[i].fd = fd;
        to->objects[i].size = memory->object[i].size;
        to->objects[i].drm_format_modifier = driver->modifier;
        to->num_objects = i + 1;
    }
    describe_layers(memory, flags, to);
    return VA_STATUS_SUCCESS;
}

void offer_surfaces(struct VADriverVTable *table)
{
    table->vaCreateSurfaces = create_surfaces;
    table->vaCreateSurfaces2 = create_surfaces2;
    table->vaDestroySurfaces = destroy_surfaces;
    table->vaQuerySurfaceAttributes = query_surface_attributes;
    table->vaSyncSurface = sync_surface;
    table->vaSyncSurface2 = sync_surface2;
    table->vaQuerySurfaceStatus = query_surface_status;
    table->vaExportSurfaceHandle = export_surface_handle;
}
