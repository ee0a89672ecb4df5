// Zero insertion, any filter, decimation, straight from global memory: one thread makes one output of PACK neighbouring channels.
// For channels_last, where neighbouring threads read neighbouring channels, and for filters that are not separable.
// Macros: SCALAR PACK ALIGN UP DOWN TAPS_X TAPS_Y SEPARABLE (f is a line for both axes, else a rectangle) LAST (channels innermost)
#include "common.cuh"

struct Args {
    const SCALAR* x; const wide* f; SCALAR* y;
    int64 x_stride[4], y_stride[4], n; // n outputs, in packs
    double gain;                       // of the whole filter
    int channels, in_h, in_w, out_h, out_w, pad_x, pad_y, flip;
};

__device__ inline int modulo(int a, int b) { return (a % b + b) % b; }

__device__ inline wide tap(const Args& a, int ky, int kx) {
    if (!a.flip) { ky = TAPS_Y - 1 - ky; kx = TAPS_X - 1 - kx; }
    return SEPARABLE ? a.f[ky] * a.f[kx] : a.f[ky*TAPS_X + kx];
}

extern "C" __global__ void upfirdn2d_direct(Args a) {
    int64 i = int64(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= a.n) return;
    int packs = a.channels / PACK, c = 0;
    if (LAST) { c = i % packs * PACK; i /= packs; }
    int ox = i % a.out_w; i /= a.out_w;
    int oy = i % a.out_h; i /= a.out_h;
    if (!LAST) { c = i % packs * PACK; i /= packs; }

    const SCALAR* x = a.x + i*a.x_stride[0] + c*a.x_stride[1];
    int left = ox*DOWN - a.pad_x, top = oy*DOWN - a.pad_y; // where the filter begins, among numbers and inserted zeros
    wide sum[PACK] = {};
    for (int ky = modulo(-top, UP); ky < TAPS_Y; ky += UP) {
        int iy = (top + ky) / UP;
        if (top + ky < 0 || iy >= a.in_h) continue;
        for (int kx = modulo(-left, UP); kx < TAPS_X; kx += UP) {
            int ix = (left + kx) / UP;
            if (left + kx < 0 || ix >= a.in_w) continue;
            Pack p = load(x + iy*a.x_stride[2] + ix*a.x_stride[3], PACK);
            wide f = tap(a, ky, kx);
            for (int j = 0; j < PACK; j++) sum[j] += f * widen(p.v[j]);
        }
    }
    Pack p;
    for (int j = 0; j < PACK; j++) narrow(sum[j] * wide(a.gain), p.v[j]);
    store(a.y + i*a.y_stride[0] + c*a.y_stride[1] + oy*a.y_stride[2] + ox*a.y_stride[3], PACK, p);
}
