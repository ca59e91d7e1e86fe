/* The software driver itself: what libva loads, the names of its objects, what it does not do. */
#include "software_va.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int software_va_surfaces, software_va_images, software_va_buffers, software_va_configs,
    software_va_contexts, software_va_syncs;

Driver *driver_of(VADriverContextP context)
{
    return context->pDriverData;
}

static void count(enum kind kind, int change)
{
    int *counters[] = { NULL, &software_va_surfaces, &software_va_images, &software_va_buffers,
                        &software_va_configs, &software_va_contexts };
    __atomic_add_fetch(counters[kind], change, __ATOMIC_RELAXED);
}

unsigned add_slot(Driver *driver, enum kind kind, void *object)
{
    unsigned id = 1;
    pthread_mutex_lock(&driver->lock);
    while (id < MAX_SLOTS && driver->slot[id].kind != FREE)
        id++;
    if (id < MAX_SLOTS)
        driver->slot[id] = (Slot){ kind, object };
    else
        id = 0;
    pthread_mutex_unlock(&driver->lock);
    if (id)
        count(kind, 1);
    return id;
}

static void *look_up(Driver *driver, unsigned id, enum kind kind, bool take)
{
    void *object = NULL;
    pthread_mutex_lock(&driver->lock);
    if (id < MAX_SLOTS && driver->slot[id].kind == kind) {
        object = driver->slot[id].object;
        if (take)
            driver->slot[id] = (Slot){ FREE, NULL };
    }
    pthread_mutex_unlock(&driver->lock);
    if (object && take)
        count(kind, -1);
    return object;
}

void *find_slot(Driver *driver, unsigned id, enum kind kind)
{
    return look_up(driver, id, kind, false);
}

void *take_slot(Driver *driver, unsigned id, enum kind kind)
{
    return look_up(driver, id, kind, true);
}

/* What is still there at the end stays there: the tests count it. */
static VAStatus terminate(VADriverContextP context)
{
    Driver *driver = driver_of(context);
    if (driver->primary >= 0)
        close(driver->primary);
    pthread_mutex_destroy(&driver->lock);
    free(driver);
    context->pDriverData = NULL;
    report();
    return VA_STATUS_SUCCESS;
}

static VAStatus unimplemented(void)
{
    return VA_STATUS_ERROR_UNIMPLEMENTED;
}

/* libva loads no driver that leaves one of these out. Each is only told that it is not there, and
 * a function that takes no argument may be called with any on the machines that VA-API is for. */
#define NOT_OFFERED(table, name) (table)->name = (void *)unimplemented

static void offer_nothing_else(struct VADriverVTable *table)
{
    NOT_OFFERED(table, vaPutSurface);
    NOT_OFFERED(table, vaSetImagePalette);
    NOT_OFFERED(table, vaQuerySubpictureFormats);
    NOT_OFFERED(table, vaCreateSubpicture);
    NOT_OFFERED(table, vaDestroySubpicture);
    NOT_OFFERED(table, vaSetSubpictureImage);
    NOT_OFFERED(table, vaSetSubpictureChromakey);
    NOT_OFFERED(table, vaSetSubpictureGlobalAlpha);
    NOT_OFFERED(table, vaAssociateSubpicture);
    NOT_OFFERED(table, vaDeassociateSubpicture);
    NOT_OFFERED(table, vaQueryDisplayAttributes);
    NOT_OFFERED(table, vaGetDisplayAttributes);
    NOT_OFFERED(table, vaSetDisplayAttributes);
}

bool fails_now(Failure *failure)
{
    return __atomic_add_fetch(&failure->calls, 1, __ATOMIC_RELAXED) == failure->at;
}

static uint64_t read_number(const char *name)
{
    const char *value = getenv(name);
    return value ? strtoull(value, NULL, 0) : 0;
}

static void read_options(Driver *driver)
{
    driver->no_derive = getenv("SOFTWARE_VA_NO_DERIVE");
    driver->no_export = getenv("SOFTWARE_VA_NO_EXPORT");
    driver->shadow = getenv("SOFTWARE_VA_SHADOW");
    driver->read_only = getenv("SOFTWARE_VA_READ_ONLY");
    driver->modifier = read_number("SOFTWARE_VA_MODIFIER");
    driver->surface_failure.at = read_number("SOFTWARE_VA_FAIL_SURFACE");
    driver->export_failure.at = read_number("SOFTWARE_VA_FAIL_EXPORT");
    driver->decode_failure.at = read_number("SOFTWARE_VA_FAIL_DECODE");
}

EXPORTED VAStatus __vaDriverInit_1_0(VADriverContextP context)
{
    const struct drm_state *display = context->drm_state;
    Driver *driver = calloc(1, sizeof *driver);
    if (!driver)
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    if (!open_primary_node(display ? display->fd : -1, &driver->primary)) {
        free(driver);
        return VA_STATUS_ERROR_OPERATION_FAILED;
    }
    pthread_mutex_init(&driver->lock, NULL);
    read_options(driver);
    context->pDriverData = driver;
    context->version_major = VA_MAJOR_VERSION;
    context->version_minor = VA_MINOR_VERSION;
    context->max_image_formats = format_count;
    context->max_subpic_formats = context->max_display_attributes = 1;
    context->str_vendor = driver->primary < 0 ? "xtranscode software driver for tests (memfd)"
                                              : "xtranscode software driver for tests (dma-buf)";
    context->vtable->vaTerminate = terminate;
    offer_configs(context);
    offer_contexts(context->vtable);
    offer_surfaces(context->vtable);
    offer_images(context->vtable);
    offer_buffers(context->vtable);
    offer_processing(context);
    offer_nothing_else(context->vtable);
    return VA_STATUS_SUCCESS;
}
