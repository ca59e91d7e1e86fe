/* The dialect that kernels are written in: a set of names that OpenCL C and CUDA C++ both have.
 *
 * Compiled as OpenCL C, the same source also makes the SPIR-V that SYCL and Level Zero take. Kernels
 * keep to what all of them share: no vector types, no images, no pointers to local memory as
 * arguments, no `restrict`, and no floating point, whose results differ from device to device.
 *
 *   KERNEL, DEVICE        an entry point; a function that entry points call
 *   GLOBAL                before a pointer to memory of the device
 *   LOCAL                 before a variable of an entry point that the items of a group share
 *   INDEX(d)              which item this is, along dimension 0 or 1
 *   ITEM(d), GROUP(d)     which item of its group this is, and which group
 *   BARRIER               all items of a group wait here for each other
 *   ATOMIC_ADD(p, v)      adds to a u32 in GLOBAL memory
 *   LEADING_ZEROS(v)      how many bits of a u32 are 0 above its highest 1; 32 of 0
 *   OUTSIDE(...)          whether this item is beyond the grid: CUDA's grids are of whole blocks
 *   u8 u16 u32 i32 i64 u64
 *
 * INDEX is a size_t, since CPU runtimes vectorise no other index well. OUTSIDE costs CPU runtimes
 * their vectors too: it is there only for grids that cannot have an exact size.
 */
#if defined(__OPENCL_VERSION__) || defined(__OPENCL_C_VERSION__)
#define KERNEL __kernel
#define GLOBAL __global
#define LOCAL __local
#define DEVICE static inline
#define INDEX(dimension) get_global_id(dimension)
#define ITEM(dimension) get_local_id(dimension)
#define GROUP(dimension) get_group_id(dimension)
#define BARRIER barrier(CLK_LOCAL_MEM_FENCE)
#define ATOMIC_ADD(pointer, value) atomic_add(pointer, value)
#define LEADING_ZEROS(value) clz((u32)(value))
#define OUTSIDE(x, columns, y, rows) 0
typedef uchar u8;
typedef ushort u16;
typedef uint u32;
typedef int i32;
typedef long i64;
typedef ulong u64;
#elif defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define KERNEL extern "C" __global__
#define GLOBAL
#define LOCAL __shared__
#define DEVICE static __device__ __forceinline__
#define INDEX_0 ((size_t)blockIdx.x * blockDim.x + threadIdx.x)
#define INDEX_1 ((size_t)blockIdx.y * blockDim.y + threadIdx.y)
#define INDEX(dimension) INDEX_##dimension
#define ITEM_0 ((size_t)threadIdx.x)
#define ITEM_1 ((size_t)threadIdx.y)
#define ITEM(dimension) ITEM_##dimension
#define GROUP_0 ((size_t)blockIdx.x)
#define GROUP_1 ((size_t)blockIdx.y)
#define GROUP(dimension) GROUP_##dimension
#define BARRIER __syncthreads()
#define ATOMIC_ADD(pointer, value) atomicAdd(pointer, value)
#define LEADING_ZEROS(value) ((u32)__clz((int)(value)))
#define OUTSIDE(x, columns, y, rows) ((x) >= (size_t)(columns) || (y) >= (size_t)(rows))
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef int i32;
typedef long long i64;
typedef unsigned long long u64;
#else
#error "prelude.h knows OpenCL C and CUDA C++"
#endif

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define CLAMP(value, low, high) MIN(MAX(value, low), high)
