/* The dialect that kernels are written in: a set of names that OpenCL C and CUDA C++ both have.
 *
 * Compiled as OpenCL C, the same source also makes the SPIR-V that SYCL and Level Zero take. Kernels
 * keep to what all of them share: no vector types, no images, no pointers to local memory as
 * arguments, no `restrict`.
 *
 * INDEX is a size_t, since CPU runtimes vectorise no other index well. OUTSIDE is a bounds check that
 * costs CPU runtimes their vectors too: it is there only for grids that cannot have an exact size.
 */
#if defined(__OPENCL_VERSION__) || defined(__OPENCL_C_VERSION__)
#define KERNEL __kernel
#define GLOBAL __global
#define DEVICE static inline
#define INDEX(dimension) get_global_id(dimension)
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
#define DEVICE static __device__ __forceinline__
#define INDEX_0 ((size_t)blockIdx.x * blockDim.x + threadIdx.x)
#define INDEX_1 ((size_t)blockIdx.y * blockDim.y + threadIdx.y)
#define INDEX(dimension) INDEX_##dimension
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
