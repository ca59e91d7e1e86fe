/* Lets libva-drm take /dev/null for a render node, on a machine that has none.
 *
 * libva-drm asks libdrm what kind of node it was given. Loaded before it, with its symbols global,
 * this answers for /dev/null and asks libdrm about everything else.
 */
#include <dlfcn.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <xf86drm.h>

int drmGetNodeTypeFromFd(int fd)
{
    struct stat status;
    if (!fstat(fd, &status) && S_ISCHR(status.st_mode) && status.st_rdev == makedev(1, 3))
        return DRM_NODE_RENDER;
    void *libdrm = dlopen("libdrm.so.2", RTLD_LAZY);
    int (*original)(int) = libdrm ? (int (*)(int))dlsym(libdrm, "drmGetNodeTypeFromFd") : NULL;
    return original ? original(fd) : -1;
}
