/* A VA-API driver without hardware, for tests: the real libva loads it, surfaces are memfds.
 *
 * It does surfaces, images and their exchange as DRM PRIME handles. It offers no configuration, so
 * it neither decodes nor processes: those entry points say "unimplemented".
 *
 * Environment, read when a display is initialised:
 *   SOFTWARE_VA_NO_DERIVE  refuse vaDeriveImage, as drivers of memory that a CPU cannot reach do
 *   SOFTWARE_VA_NO_EXPORT  refuse vaExportSurfaceHandle, as drivers before libva 2.1 do
 *   SOFTWARE_VA_SHADOW     give derived images memory of their own, copied at map and unmap, as
 *                          drivers of tiled memory do
 *   SOFTWARE_VA_READ_ONLY  what is exported for reading cannot be mapped for writing
 *   SOFTWARE_VA_MODIFIER   the layout modifier that exported memory is said to have (it is linear)
 */
#ifndef SOFTWARE_VA_H
#define SOFTWARE_VA_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <va/va_backend.h>

#define MAX_PLANES 3
#define MAX_OBJECTS 4
#define MAX_SLOTS 1024

/* One pixel format: log2 of the subsampling, bytes of an element, and how DRM calls each plane. */
typedef struct {
    VAImageFormat image;
    uint32_t rt_format;
    uint32_t drm;
    unsigned planes;
    struct {
        unsigned log2_width, log2_height, bytes;
        uint32_t drm;
    } plane[MAX_PLANES];
} Format;

typedef struct {
    int fd;
    size_t size;
    uint8_t *data;
} Object;

/* Memory of a surface; images that are derived from it share it. */
typedef struct {
    unsigned users;
    const Format *format;
    unsigned width, height;
    unsigned objects;
    Object object[MAX_OBJECTS];
    unsigned index[MAX_PLANES]; /* of the object that holds a plane */
    uint32_t offset[MAX_PLANES], pitch[MAX_PLANES];
} Memory;

typedef struct {
    VAImage description;
    Memory *memory;  /* of the surface that it was derived from; NULL for an image of its own */
    uint8_t *data;   /* of its own, or a shadow of the surface's */
} Image;

enum kind { FREE, SURFACE, IMAGE, BUFFER };

typedef struct {
    enum kind kind;
    void *object;
} Slot;

typedef struct {
    pthread_mutex_t lock;
    Slot slot[MAX_SLOTS]; /* the lowest free one is taken next: names come again at once */
    bool no_derive, no_export, shadow, read_only;
    uint64_t modifier;
} Driver;

#define EXPORTED __attribute__((visibility("default")))

/* What is alive in this process, and how often surfaces were synchronised; read by the tests. */
extern EXPORTED int software_va_surfaces, software_va_images, software_va_buffers, software_va_syncs;

Driver *driver_of(VADriverContextP context);
unsigned add_slot(Driver *driver, enum kind kind, void *object); /* 0 where there is no room */
void *find_slot(Driver *driver, unsigned id, enum kind kind);
void *take_slot(Driver *driver, unsigned id, enum kind kind);

extern const Format formats[];
extern const unsigned format_count;
const Format *find_format(uint32_t fourcc);
size_t lay_out(const Format *format, unsigned width, unsigned height, uint32_t *pitch,
               uint32_t *offset);
unsigned plane_rows(const Format *format, unsigned plane, unsigned height);
unsigned row_bytes(const Format *format, unsigned plane, unsigned width);
void memory_release(Driver *driver, Memory *memory);

void offer_surfaces(struct VADriverVTable *table);
void offer_images(struct VADriverVTable *table);

#endif
