/* A mock of Level Zero's loader: NO HARDWARE IS BEHIND IT, and it proves nothing about a driver.
 *
 * It answers the calls that bridges/native/level_zero.py declares, with the structures as the
 * specification lays them out in C, and refuses what a driver may refuse. All memory is memfds that
 * are mapped: "device" memory can be read at its address, which no test may take for granted.
 * Importing a file descriptor maps it, and leaves it to the caller; exporting duplicates one.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef uint32_t result;
enum {
    SUCCESS = 0,
    OUT_OF_DEVICE_MEMORY = 0x70000003,
    UNINITIALIZED = 0x78000001,
    INVALID_ARGUMENT = 0x78000004,
    INVALID_NULL_HANDLE = 0x78000005,
    INVALID_SIZE = 0x78000008,
    UNSUPPORTED_SIZE = 0x78000009,
    UNSUPPORTED_ENUMERATION = 0x7800000d,
};
enum { HOST = 1, DEVICE = 2, SHARED = 3 };
enum { DMA_BUF = 2 };

typedef struct { uint32_t stype; void *next; } header;
typedef struct { uint32_t stype; void *next; uint32_t flags; int fd; } external_fd;
typedef struct { uint32_t stype; void *next; uint32_t flags; } export_desc;
typedef struct { uint32_t stype; void *next; uint32_t flags; uint32_t ordinal; } device_desc;
typedef struct { uint32_t stype; void *next; uint32_t flags; } host_desc;
typedef struct { uint32_t stype; void *next; uint32_t type; uint64_t id, page_size; } alloc_props;
typedef struct {
    uint32_t stype; void *next;
    uint32_t ordinal, index, flags, mode, priority;
} queue_desc;
typedef struct {
    uint32_t stype; void *next;
    uint32_t type, vendor, device, flags, subdevice, clock;
    uint64_t max_alloc;
    uint32_t contexts, priorities, threads, simd, eus, subslices, slices;
    uint64_t timer;
    uint32_t timestamp_bits, kernel_timestamp_bits;
    uint8_t uuid[16];
    char name[256];
} device_props;

typedef struct allocation {
    struct allocation *next;
    char *start;
    size_t size;
    int fd, type, exportable;
    void *context;
} allocation;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static allocation *allocations;
static int live_allocations, live_contexts, live_lists, ids;
static const size_t LIMIT = (size_t)1 << 32;

int mock_live_allocations(void) { return live_allocations; }
int mock_live_contexts(void) { return live_contexts; }
int mock_live_lists(void) { return live_lists; }

result zeInit(uint32_t flags) {
    if (getenv("MOCK_LEVEL_ZERO_HAS_NO_DRIVER")) return UNINITIALIZED;
    return flags > 3 ? INVALID_ARGUMENT : SUCCESS;
}

result zeDriverGet(uint32_t *count, void **drivers) {
    if (*count && drivers) drivers[0] = (void *)0x10;
    *count = 1;
    return SUCCESS;
}

result zeDeviceGet(void *driver, uint32_t *count, void **devices) {
    if (driver != (void *)0x10) return INVALID_NULL_HANDLE;
    if (*count && devices) devices[0] = (void *)0x20;
    *count = !getenv("MOCK_LEVEL_ZERO_HAS_NO_DEVICE");
    return SUCCESS;
}

result zeDeviceGetProperties(void *device, device_props *out) {
    if (device != (void *)0x20) return INVALID_NULL_HANDLE;
    if (out->stype != 0x3) return INVALID_ARGUMENT;
    strcpy(out->name, "a mock, no hardware");
    return SUCCESS;
}

result zeContextCreate(void *driver, const host_desc *desc, void **out) {
    if (driver != (void *)0x10) return INVALID_NULL_HANDLE;
    if (desc->stype != 0xd || desc->flags) return INVALID_ARGUMENT;
    *out = malloc(1);
    pthread_mutex_lock(&lock);
    live_contexts++;
    pthread_mutex_unlock(&lock);
    return SUCCESS;
}

result zeContextDestroy(void *context) {
    result answer = SUCCESS;
    pthread_mutex_lock(&lock);
    for (allocation *each = allocations; each; each = each->next)
        if (each->context == context) answer = INVALID_ARGUMENT;
    if (answer == SUCCESS) { live_contexts--; free(context); }
    pthread_mutex_unlock(&lock);
    return answer;
}

static result allocate(void *context, int fd, size_t size, int type, int exportable, void **out) {
    if (!context) return INVALID_NULL_HANDLE;
    if (size > LIMIT) return UNSUPPORTED_SIZE;
    if (fd < 0) {
        fd = memfd_create("mock-level-zero", MFD_CLOEXEC);
        if (fd < 0 || ftruncate(fd, size)) return OUT_OF_DEVICE_MEMORY;
    } else {
        if ((off_t)size > lseek(fd, 0, SEEK_END) || (fd = dup(fd)) < 0) return INVALID_SIZE;
    }
    void *start = mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (start == MAP_FAILED) { close(fd); return INVALID_SIZE; }
    allocation *made = calloc(1, sizeof *made);
    *made = (allocation){ .start = start, .size = size, .fd = fd, .type = type,
                          .exportable = exportable, .context = context };
    pthread_mutex_lock(&lock);
    made->next = allocations;
    allocations = made;
    live_allocations++;
    pthread_mutex_unlock(&lock);
    *out = start;
    return SUCCESS;
}

static int bad_alignment(size_t alignment) { return alignment & (alignment - 1); }

result zeMemAllocDevice(void *context, const device_desc *desc, size_t size, size_t alignment,
                        void *device, void **out) {
    if (device != (void *)0x20) return INVALID_NULL_HANDLE;
    if (desc->stype != 0x15 || bad_alignment(alignment)) return INVALID_ARGUMENT;
    int fd = -1, exportable = 0;
    for (header *extra = desc->next; extra; extra = extra->next) {
        if (extra->stype == 0x19) {
            if (((external_fd *)extra)->flags != DMA_BUF) return UNSUPPORTED_ENUMERATION;
            fd = ((external_fd *)extra)->fd;
        } else if (extra->stype == 0x18) {
            if (((export_desc *)extra)->flags != DMA_BUF) return UNSUPPORTED_ENUMERATION;
            exportable = 1;
        } else {
            return INVALID_ARGUMENT;
        }
    }
    return allocate(context, fd, size, DEVICE, exportable, out);
}

result zeMemAllocHost(void *context, const host_desc *desc, size_t size, size_t alignment,
                      void **out) {
    if (desc->stype != 0x16 || bad_alignment(alignment)) return INVALID_ARGUMENT;
    return allocate(context, -1, size, HOST, 0, out);
}

result zeMemAllocShared(void *context, const device_desc *device_part, const host_desc *host_part,
                        size_t size, size_t alignment, void *device, void **out) {
    if (device != (void *)0x20) return INVALID_NULL_HANDLE;
    if (device_part->stype != 0x15 || host_part->stype != 0x16 || bad_alignment(alignment))
        return INVALID_ARGUMENT;
    return allocate(context, -1, size, SHARED, 0, out);
}

static allocation *find(const void *context, const void *where) {
    for (allocation *each = allocations; each; each = each->next)
        if (each->context == context && (char *)where >= each->start &&
            (char *)where < each->start + each->size)
            return each;
    return 0;
}

result zeMemFree(void *context, void *start) {
    result answer = INVALID_ARGUMENT;
    pthread_mutex_lock(&lock);
    for (allocation **link = &allocations; *link; link = &(*link)->next) {
        allocation *each = *link;
        if (each->context != context || each->start != start) continue;
        *link = each->next;
        munmap(each->start, each->size);
        close(each->fd);
        free(each);
        live_allocations--;
        answer = SUCCESS;
        break;
    }
    pthread_mutex_unlock(&lock);
    return answer;
}

result zeMemGetAllocProperties(void *context, const void *where, alloc_props *out, void **device) {
    if (out->stype != 0x17) return INVALID_ARGUMENT;
    result answer = SUCCESS;
    pthread_mutex_lock(&lock);
    allocation *found = find(context, where);
    out->type = found ? (uint32_t)found->type : 0;
    out->id = ++ids;
    out->page_size = 4096;
    if (device) *device = found ? (void *)0x20 : 0;
    external_fd *wanted = out->next;
    if (wanted && wanted->stype == 0x1a) {
        if (!found || !found->exportable || wanted->flags != DMA_BUF)
            answer = UNSUPPORTED_ENUMERATION;
        else
            wanted->fd = dup(found->fd);
    }
    pthread_mutex_unlock(&lock);
    return answer;
}

result zeMemGetAddressRange(void *context, const void *where, void **start, size_t *size) {
    pthread_mutex_lock(&lock);
    allocation *found = find(context, where);
    if (found) { *start = found->start; *size = found->size; }
    pthread_mutex_unlock(&lock);
    return found ? SUCCESS : INVALID_ARGUMENT;
}

result zeCommandListCreateImmediate(void *context, void *device, const queue_desc *desc,
                                    void **out) {
    if (!context || device != (void *)0x20) return INVALID_NULL_HANDLE;
    if (desc->stype != 0xe || desc->mode != 1) return INVALID_ARGUMENT;
    *out = malloc(1);
    pthread_mutex_lock(&lock);
    live_lists++;
    pthread_mutex_unlock(&lock);
    return SUCCESS;
}

result zeCommandListDestroy(void *list) {
    pthread_mutex_lock(&lock);
    live_lists--;
    pthread_mutex_unlock(&lock);
    free(list);
    return SUCCESS;
}

result zeCommandListAppendMemoryCopy(void *list, void *target, const void *source, size_t size,
                                     void *signal, uint32_t waits, void **events) {
    if (!list || signal || waits || events) return INVALID_ARGUMENT;
    memcpy(target, source, size);
    return SUCCESS;
}
