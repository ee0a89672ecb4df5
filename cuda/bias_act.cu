// y = clamp(leaky_relu(x + b) * gain), or with MODE == MASKED its gradient. One thread, one pack; memory in any dense order.
// Macros: SCALAR PACK ALIGN MODE INDEX (unsigned, or int64 for many numbers)
#include "common.cuh"

struct Args {
    const SCALAR *x, *b; // b [channels], or null
    SCALAR* y;
    byte* mask;          // four codes a byte
    int64 n, inner, channels; // the channel of number i is i / inner % channels
    double slope, gain, clamp;
};

extern "C" __global__ void bias_act(Args a) {
    INDEX i = (INDEX(blockIdx.x) * blockDim.x + threadIdx.x) * PACK, inner = a.inner;
    if (i >= a.n) return;
    Pack p = load(a.x + i, a.n - i);
    INDEX c = i / inner % a.channels, r = i % inner;
    unsigned codes = 0;
    if (MODE == MASKED) for (int q = 0; q < PACK; q += 4) codes |= unsigned(a.mask[(i + q) / 4]) << 2*q;
    #pragma unroll
    for (int j = 0; j < PACK; j++) {
        wide v = widen(p.v[j]);
        if (MODE == MASKED) v = masked(v, a.slope, a.gain, codes >> 2*j & 3);
        else {
            unsigned code;
            if (a.b) v += widen(a.b[c]);
            v = activate(v, a.slope, a.gain, a.clamp, code);
            if (i + j < a.n) codes |= code << 2*j; // what is beyond the end has code 0
        }
        narrow(v, p.v[j]);
        if (++r == inner) { r = 0; if (++c == a.channels) c = 0; }
    }
    store(a.y + i, a.n - i, p);
    if (MODE == SAVE) for (int q = 0; q < PACK; q += 4) a.mask[(i + q) / 4] = byte(codes >> 2*q);
}
