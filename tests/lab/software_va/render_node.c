/* Lets libva-drm and FFmpeg take /dev/null for a render node, on a machine that has none.
 *
 * They ask libdrm what kind of node they were given, and who drives it. Loaded before it, with its
 * symbols global, this answers for /dev/null and asks libdrm about everything else.
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <xf86drm.h>

static bool is_null(int fd)
{
    struct stat status;
    return !fstat(fd, &status) && S_ISCHR(status.st_mode) && status.st_rdev == makedev(1, 3);
}

static void *original(const char *name)
{
    void *libdrm = dlopen("libdrm.so.2", RTLD_LAZY);
    return libdrm ? dlsym(libdrm, name) : NULL;
}

int drmGetNodeTypeFromFd(int fd)
{
    int (*ask)(int) = (int (*)(int))original("drmGetNodeTypeFromFd");
    if (is_null(fd))
        return DRM_NODE_RENDER;
    return ask ? ask(fd) : -1;
}

/* drmFreeVersion frees each of its parts. */
static drmVersionPtr software_version(void)
{
    drmVersionPtr version = calloc(1, sizeof *version);
    if (!version)
        return NULL;
    version->name = strdup("software");
    version->date = strdup("");
    version->desc = strdup("no device at all");
    version->name_len = version->name ? strlen(version->name) : 0;
    version->desc_len = version->desc ? strlen(version->desc) : 0;
    return version;
}

drmVersionPtr drmGetVersion(int fd)
{
    drmVersionPtr (*ask)(int) = (drmVersionPtr(*)(int))original("drmGetVersion");
    if (is_null(fd))
        return software_version();
    return ask ? ask(fd) : NULL;
}
