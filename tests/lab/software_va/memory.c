/* Memory of surfaces: dma-bufs where the display has a real DRM node, memfds where it has none. */
#define _GNU_SOURCE
#include "software_va.h"

#include <drm_fourcc.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <xf86drm.h>

#define DRM_MAJOR 226
#define PAGE 4096

/* Dumb buffers come from a primary node alone, though the display was opened on a render node. */
bool open_primary_node(int display_node, int *primary)
{
    struct stat status;
    *primary = -1;
    if (fstat(display_node, &status) || !S_ISCHR(status.st_mode)
        || major(status.st_rdev) != DRM_MAJOR)
        return true; /* no DRM node at all: memfds will do */
    char *path = drmGetPrimaryDeviceNameFromFd(display_node);
    *primary = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    free(path);
    return *primary >= 0;
}

/* The handle goes at once: the dma-buf keeps the memory. */
static int make_dma_buf(int primary, size_t *size)
{
    struct drm_mode_create_dumb dumb = { .width = PAGE, .height = (*size + PAGE - 1) / PAGE,
                                         .bpp = 8 };
    int fd = -1;
    if (drmIoctl(primary, DRM_IOCTL_MODE_CREATE_DUMB, &dumb))
        return -1;
    if (drmPrimeHandleToFD(primary, dumb.handle, DRM_CLOEXEC | DRM_RDWR, &fd))
        fd = -1;
    drmIoctl(primary, DRM_IOCTL_MODE_DESTROY_DUMB,
             &(struct drm_mode_destroy_dumb){ .handle = dumb.handle });
    *size = dumb.size;
    return fd;
}

static int make_memfd(size_t size)
{
    int fd = memfd_create(MEMFD_NAME, MFD_CLOEXEC);
    if (fd >= 0 && ftruncate(fd, size)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static bool open_object(Object *object, int fd, size_t size)
{
    void *data = fd < 0 ? MAP_FAILED : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    object->fd = fd;
    object->size = size;
    object->data = data == MAP_FAILED ? NULL : data;
    return object->data;
}

static bool make_memory(const Driver *driver, Memory *memory)
{
    size_t size = lay_out(memory->format, memory->width, memory->height, memory->pitch,
                          memory->offset);
    int fd = driver->primary < 0 ? make_memfd(size) : make_dma_buf(driver->primary, &size);
    memory->objects = 1;
    return open_object(&memory->object[0], fd, size);
}

/* Planes come in one layer or in several, in any objects, but each within its own. */
static VAStatus import_memory(Memory *memory, const VADRMPRIMESurfaceDescriptor *from)
{
    unsigned plane = 0;
    if (from->num_objects < 1 || from->num_objects > MAX_OBJECTS || from->num_layers > 4)
        return VA_STATUS_ERROR_INVALID_PARAMETER;
    for (unsigned i = 0; i < from->num_objects; i++) {
        if (from->objects[i].drm_format_modifier != DRM_FORMAT_MOD_LINEAR)
            return VA_STATUS_ERROR_UNSUPPORTED_MEMORY_TYPE;
        memory->objects = i + 1;
        int fd = fcntl(from->objects[i].fd, F_DUPFD_CLOEXEC, 0);
        if (!open_object(&memory->object[i], fd, from->objects[i].size))
            return VA_STATUS_ERROR_ALLOCATION_FAILED;
    }
    for (unsigned layer = 0; layer < from->num_layers; layer++)
        for (unsigned i = 0; i < from->layers[layer].num_planes && i < 4; i++, plane++) {
            uint32_t index = from->layers[layer].object_index[i];
            uint32_t offset = from->layers[layer].offset[i], pitch = from->layers[layer].pitch[i];
            if (plane >= memory->format->planes || index >= from->num_objects)
                return VA_STATUS_ERROR_INVALID_PARAMETER;
            unsigned bytes = row_bytes(memory->format, plane, memory->width);
            uint64_t before = (uint64_t)pitch
                              * (plane_rows(memory->format, plane, memory->height) - 1);
            if (pitch < bytes || offset + before + bytes > memory->object[index].size)
                return VA_STATUS_ERROR_INVALID_PARAMETER;
            memory->index[plane] = index;
            memory->offset[plane] = offset;
            memory->pitch[plane] = pitch;
        }
    return plane == memory->format->planes ? VA_STATUS_SUCCESS : VA_STATUS_ERROR_INVALID_PARAMETER;
}

static void free_memory(Memory *memory)
{
    for (unsigned i = 0; i < memory->objects; i++) {
        if (memory->object[i].data)
            munmap(memory->object[i].data, memory->object[i].size);
        if (memory->object[i].fd >= 0)
            close(memory->object[i].fd);
    }
    release_decoder(memory->decoder);
    free(memory);
}

VAStatus memory_create(Driver *driver, const Format *format, unsigned width, unsigned height,
                       const VADRMPRIMESurfaceDescriptor *from, Memory **created)
{
    VAStatus status = VA_STATUS_ERROR_ALLOCATION_FAILED;
    Memory *memory = fails_now(&driver->surface_failure) ? NULL : calloc(1, sizeof *memory);
    if (!memory)
        return status;
    *memory = (Memory){ .users = 1, .format = format, .width = width, .height = height };
    if (from)
        status = import_memory(memory, from);
    else if (make_memory(driver, memory))
        status = VA_STATUS_SUCCESS;
    if (status == VA_STATUS_SUCCESS)
        *created = memory;
    else
        free_memory(memory);
    return status;
}

void memory_hold(Driver *driver, Memory *memory)
{
    pthread_mutex_lock(&driver->lock);
    memory->users++;
    pthread_mutex_unlock(&driver->lock);
}

void memory_release(Driver *driver, Memory *memory)
{
    pthread_mutex_lock(&driver->lock);
    unsigned left = --memory->users;
    pthread_mutex_unlock(&driver->lock);
    if (!left)
        free_memory(memory);
}

/* A memfd does not know this command, and has no need of it. */
static void synchronise(const Memory *memory, uint64_t flags)
{
    struct dma_buf_sync sync = { flags };
    for (unsigned i = 0; i < memory->objects; i++)
        while (ioctl(memory->object[i].fd, DMA_BUF_IOCTL_SYNC, &sync)
               && (errno == EINTR || errno == EAGAIN))
            ;
}

static uint64_t sync_flags(enum access access)
{
    return access == READS ? DMA_BUF_SYNC_READ : DMA_BUF_SYNC_RW;
}

void memory_begin(const Memory *memory, enum access access)
{
    synchronise(memory, DMA_BUF_SYNC_START | sync_flags(access));
}

void memory_end(const Memory *memory, enum access access)
{
    synchronise(memory, DMA_BUF_SYNC_END | sync_flags(access));
}

uint8_t *memory_row(const Memory *memory, unsigned plane, unsigned row)
{
    return memory->object[memory->index[plane]].data + memory->offset[plane]
           + (size_t)row * memory->pitch[plane];
}
