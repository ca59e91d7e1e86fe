/* What the software driver tells of another process, when a display ends there. */
#define _GNU_SOURCE
#include "software_va.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool starts_with(const char *text, const char *start)
{
    return !strncmp(text, start, strlen(start));
}

/* Descriptors of surfaces, whoever holds them. */
static int count_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    int count = 0;
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        char target[64] = "";
        if (readlinkat(dirfd(folder), entry->d_name, target, sizeof target - 1) > 0)
            count += starts_with(target, "/memfd:" MEMFD_NAME) || starts_with(target, "/dmabuf:");
    }
    if (folder)
        closedir(folder);
    return count;
}

void report(void)
{
    const char *path = getenv("SOFTWARE_VA_REPORT");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (!file)
        return;
    fprintf(file, "surfaces %d\nimages %d\nbuffers %d\nconfigs %d\ncontexts %d\nsyncs %d\n",
            software_va_surfaces, software_va_images, software_va_buffers, software_va_configs,
            software_va_contexts, software_va_syncs);
    fprintf(file, "descriptors %d\n", count_descriptors());
    fclose(file);
}
