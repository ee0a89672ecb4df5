// Runs the unchanged source of a CUDA kernel on the CPU. Every thread of a block is a fiber; at __syncthreads it lets the others go on.
// The order of threads is one of the many that a GPU may take; shared memory is NaN before a block, so that reading too early shows.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ucontext.h>

#define __global__
#define __device__
#define __shared__

struct Index { unsigned x; };
static Index threadIdx, blockIdx, blockDim;

static const int MOST = 1024, STACK = 1 << 15;
static ucontext_t scheduler, fiber[MOST];
static bool finished[MOST];

static void __syncthreads() { swapcontext(&fiber[threadIdx.x], &scheduler); }

static float __uint_as_float(unsigned u) { float f; memcpy(&f, &u, 4); return f; }
static unsigned __float_as_uint(float f) { unsigned u; memcpy(&u, &f, 4); return u; }

static float half_to_float(unsigned short h) {
    unsigned sign = (h & 0x8000u) << 16, e = h >> 10 & 31, m = h & 1023;
    float v = e == 31 ? __uint_as_float(0x7f800000 | m << 13) : e ? __uint_as_float((e + 112) << 23 | m << 13) : m * 0x1p-24f;
    return __uint_as_float(__float_as_uint(v) | sign);
}

static unsigned short float_to_half(float x) { // to the nearest, ties to even
    unsigned u = __float_as_uint(x), sign = u >> 16 & 0x8000, a = u & 0x7fffffff;
    if (a > 0x7f800000) return 0x7fff;
    if (a >= 0x477ff000) return sign | 0x7c00;
    if (a < 0x38800000) return sign | (__float_as_uint(__uint_as_float(a) + 0.5f) & 0xffff); // below 2^-14: steps of 2^-24, as a float has at 0.5
    return sign | (((a + 0xfff + (a >> 13 & 1)) >> 13) - (112 << 10));
}
