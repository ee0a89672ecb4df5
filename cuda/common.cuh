// What all kernels share: numbers of every precision, packs of them, and the activation with its two-bit codes.
//
// A kernel is compiled for one case at a time. What the case is comes in as macros: SCALAR (f16, bf16, float or double) and the
// sizes that loops are unrolled by. Everything here is also plain C++, so that the tests can run kernels where there is no GPU.
#pragma once

typedef unsigned char byte;
typedef long long int64;

// ---------------------------------------------------------------- numbers
// Half precisions are only ways to store: all arithmetic is in float, or in double where SCALAR is double.
struct f16 { unsigned short bits; };
struct bf16 { unsigned short bits; };

template<class T> struct WideOf { typedef float type; };
template<> struct WideOf<double> { typedef double type; };
typedef WideOf<SCALAR>::type wide;

__device__ inline float widen(float x) { return x; }
__device__ inline double widen(double x) { return x; }
__device__ inline float widen(bf16 x) { return __uint_as_float((unsigned)x.bits << 16); }
__device__ inline void narrow(float x, float& y) { y = x; }
__device__ inline void narrow(double x, double& y) { y = x; }

__device__ inline void narrow(float x, bf16& y) { // to the nearest, ties to even; any NaN to the usual one
    unsigned u = __float_as_uint(x);
    y.bits = x != x ? 0x7fc0 : (u + 0x7fff + (u >> 16 & 1)) >> 16;
}

#ifdef __CUDACC__ // PTX, because a header would be one more thing to find
__device__ inline float widen(f16 x) { float y; asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits)); return y; }
__device__ inline void narrow(float x, f16& y) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x)); }
#else
inline float widen(f16 x) { return half_to_float(x.bits); }
inline void narrow(float x, f16& y) { y.bits = float_to_half(x); }
#endif

// ---------------------------------------------------------------- packs
// PACK neighbours in memory, moved by loads and stores of ALIGN bytes.
#ifdef PACK
struct alignas(ALIGN) Pack { SCALAR v[PACK]; };

__device__ inline Pack load(const SCALAR* p, int64 room) { // `room` numbers are left, from p on
    if (room >= PACK) return *(const Pack*)p;
    Pack r = {};
    for (int j = 0; j < room; j++) r.v[j] = p[j];
    return r;
}

__device__ inline void store(SCALAR* p, int64 room, Pack r) {
    if (room >= PACK) *(Pack*)p = r;
    else for (int j = 0; j < room; j++) p[j] = r.v[j];
}
#endif

// ---------------------------------------------------------------- activation
// A leaky ReLU with gain and clamp is, around almost every point, a product with a constant. Which constant is all that its gradients
// need to know, and takes two bits.
#define PLAIN 0   // activate
#define SAVE 1    // activate, and write the codes
#define MASKED 2  // multiply by what the codes say
#define POSITIVE 0
#define NEGATIVE 1
#define CLAMPED 2

__device__ inline wide activate(wide v, wide slope, wide gain, wide clamp, unsigned& code) {
    code = v > 0 ? POSITIVE : NEGATIVE;
    v *= v > 0 ? gain : gain * slope;
    if (v > clamp) { v = clamp; code = CLAMPED; }
    if (v < -clamp) { v = -clamp; code = CLAMPED; }
    return v;
}

__device__ inline wide masked(wide v, wide slope, wide gain, unsigned code) {
    return code == POSITIVE ? v * gain : code == NEGATIVE ? v * (gain * slope) : wide(0);
}
