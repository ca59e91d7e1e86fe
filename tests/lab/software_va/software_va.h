/* A VA-API driver without hardware, for tests: the real libva loads it.
 *
 * Surfaces are dma-bufs where the display was opened on a DRM node, and memfds on any other. All
 * work is done by the CPU, and done when vaEndPicture returns:
 *   surface.c, image.c   surfaces and images, and their exchange as DRM PRIME handles
 *   process.c, colour.c  scaling and conversion between all formats
 *   decode_vp9.c         VP9 of profiles 0 and 2, by libvpx
 *   encode_h264.c        H.264 without loss: each macroblock holds its samples as they are
 *
 * Environment, read when a display is initialised:
 *   SOFTWARE_VA_NO_DERIVE  refuse vaDeriveImage, as drivers of memory that a CPU cannot reach do
 *   SOFTWARE_VA_NO_EXPORT  refuse vaExportSurfaceHandle, as drivers before libva 2.1 do
 *   SOFTWARE_VA_SHADOW     give derived images memory of their own, copied at map and unmap, as
 *                          drivers of tiled memory do
 *   SOFTWARE_VA_READ_ONLY  what is exported for reading cannot be mapped for writing
 *   SOFTWARE_VA_MODIFIER   the layout modifier that exported memory is said to have (it is linear)
 *   SOFTWARE_VA_FAIL_SURFACE, SOFTWARE_VA_FAIL_EXPORT, SOFTWARE_VA_FAIL_DECODE
 *                          which surface of a display, counted from 1, there is no memory for;
 *                          which export fails; which picture is damaged
 *   SOFTWARE_VA_REPORT     a file that is written when a display ends: what is alive then in this
 *                          process, and how many descriptors of surfaces are open
 */
#ifndef SOFTWARE_VA_H
#define SOFTWARE_VA_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <va/va_backend.h>
#include <va/va_drmcommon.h>

#define MEMFD_NAME "software VA surface"
#define MAX_PLANES 3
#define MAX_OBJECTS 4
#define MAX_FORMATS 8
#define MAX_SLOTS 1024
#define MAX_LENGTH 16384 /* of a surface, in pixels */

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

typedef struct Decoder Decoder;

/* Memory of a surface; images that are derived from it share it. */
typedef struct {
    unsigned users;
    const Format *format;
    unsigned width, height;
    unsigned objects;
    Object object[MAX_OBJECTS];
    unsigned index[MAX_PLANES]; /* of the object that holds a plane */
    uint32_t offset[MAX_PLANES], pitch[MAX_PLANES];
    Decoder *decoder; /* that filled it last; NULL where none did */
} Memory;

typedef struct {
    VAImage description;
    Memory *memory;  /* of the surface that it was derived from; NULL for an image of its own */
    uint8_t *data;   /* of its own, or a shadow of the surface's */
} Image;

typedef struct {
    VABufferType type;
    unsigned size, count; /* of an element in bytes, and how many */
    uint8_t *data;
    VACodedBufferSegment segment; /* what a coded buffer is mapped as */
    Image *image;                 /* whose pixels these are; it owns them */
} Buffer;

enum kind { FREE, SURFACE, IMAGE, BUFFER, CONFIG, CONTEXT };

typedef struct {
    enum kind kind;
    void *object;
} Slot;

/* One call is to fail, counted from 1; none where that is 0. */
typedef struct {
    unsigned at, calls;
} Failure;

typedef struct {
    pthread_mutex_t lock;
    Slot slot[MAX_SLOTS]; /* the lowest free one is taken next: names come again at once */
    int primary;          /* the DRM node that memory comes from; -1: from memfds */
    bool no_derive, no_export, shadow, read_only;
    uint64_t modifier;
    Failure surface_failure, export_failure, decode_failure;
} Driver;

typedef struct Work Work;

/* A profile at an entrypoint, and the formats that it works with, which a zero ends. */
typedef struct {
    VAProfile profile;
    VAEntrypoint entrypoint;
    const Work *work;
    uint32_t fourcc[MAX_FORMATS];
} Offer;

typedef struct {
    const Offer *offer;
    Memory *target; /* of the picture that was begun */
    void *state;    /* of the work */
} Context;

/* What a context does for a picture; begin and end may be left out. */
struct Work {
    void *(*open)(void); /* NULL where memory is short */
    void (*begin)(Context *context);
    VAStatus (*render)(Driver *driver, Context *context, const Buffer *buffer);
    VAStatus (*end)(Driver *driver, Context *context);
    void (*close)(void *state);
};

#define EXPORTED __attribute__((visibility("default")))

/* What is alive in this process, and how often surfaces were synchronised; read by the tests. */
extern EXPORTED int software_va_surfaces, software_va_images, software_va_buffers,
    software_va_configs, software_va_contexts, software_va_syncs;

/* driver.c */
Driver *driver_of(VADriverContextP context);
unsigned add_slot(Driver *driver, enum kind kind, void *object); /* 0 where there is no room */
void *find_slot(Driver *driver, unsigned id, enum kind kind);
void *take_slot(Driver *driver, unsigned id, enum kind kind);
bool fails_now(Failure *failure); /* to be asked once a call */

/* format.c */
extern const Format formats[];
extern const unsigned format_count;
const Format *find_format(uint32_t fourcc);
size_t lay_out(const Format *format, unsigned width, unsigned height, uint32_t *pitch,
               uint32_t *offset);
unsigned plane_rows(const Format *format, unsigned plane, unsigned height);
unsigned row_bytes(const Format *format, unsigned plane, unsigned width);

/* memory.c: the CPU's access to a surface lies between a begin and an end. */
enum access { READS, WRITES };
bool open_primary_node(int display_node, int *primary);
VAStatus memory_create(Driver *driver, const Format *format, unsigned width, unsigned height,
                       const VADRMPRIMESurfaceDescriptor *from, Memory **created);
void memory_hold(Driver *driver, Memory *memory);
void memory_release(Driver *driver, Memory *memory);
void memory_begin(const Memory *memory, enum access access);
void memory_end(const Memory *memory, enum access access);
uint8_t *memory_row(const Memory *memory, unsigned plane, unsigned row);

/* report.c */
void report(void);

/* buffer.c, image.c */
unsigned buffer_of_image(Driver *driver, Image *image); /* 0 where there is no room */
VAStatus image_map(Image *image, void **data);
VAStatus image_unmap(Image *image);

/* config.c */
bool offer_takes(const Offer *offer, uint32_t fourcc);

/* colour.c: what the samples of a surface mean, and how they become those of another. */
typedef struct {
    bool rgb, bt709, full; /* the latter two of YUV */
    unsigned bits;
} Colour;

typedef struct {
    uint16_t sample[3]; /* Y, U, V or R, G, B */
    uint8_t alpha;
} Pixel;

typedef struct {
    Colour from, to;
    bool keeps_values;
    struct { int32_t y, rv, gu, gv, bu, black, grey; } decode;
    struct { int32_t yr, yg, yb, half, ur, vb, black, grey; } encode;
} Conversion;

Conversion prepare_conversion(Colour from, Colour to);
Pixel convert(const Conversion *conversion, Pixel pixel);

/* What contexts do. */
extern const Work processing, vp9_decoding, h264_encoding;
void release_decoder(Decoder *decoder); /* which may be NULL */

void offer_configs(VADriverContextP context);
void offer_contexts(struct VADriverVTable *table);
void offer_surfaces(struct VADriverVTable *table);
void offer_images(struct VADriverVTable *table);
void offer_buffers(struct VADriverVTable *table);
void offer_processing(VADriverContextP context);

#endif
