// Zero insertion, separable filter, decimation, of planes in any layout: one block makes a tile of TH x TW outputs of one plane.
// The tile of inputs goes to shared memory, is resampled along x, then along y. Both factors are 1, 2 or 4, the tile's sides multiples
// of 4: the pattern of inserted zeros is then the same in every tile, and known when compiling.
// Macros: SCALAR UP DOWN TAPS SKIP_X SKIP_Y (the padding modulo UP) TW TH
#include "common.cuh"
#include "resample.cuh"

struct Args {
    const SCALAR* x; const wide* f; SCALAR* y;
    int64 x_stride[4], y_stride[4]; // of picture, channel, row, column
    double gain;
    int channels, in_h, in_w, out_h, out_w, pad_x, pad_y, flip;
};

constexpr int IW = reach(TW, UP, DOWN, TAPS, SKIP_X), IH = reach(TH, UP, DOWN, TAPS, SKIP_Y);

extern __shared__ wide pool[];

extern "C" __global__ void upfirdn2d(Args a) {
    wide *taps = pool, *tile = taps + TAPS, *wide_rows = tile + IH*odd(IW);
    int across = (a.out_w + TW - 1) / TW, tiles = across * ((a.out_h + TH - 1) / TH);
    int plane = blockIdx.x / tiles, x0 = blockIdx.x % tiles % across * TW, y0 = blockIdx.x % tiles / across * TH;
    const SCALAR* x = a.x + plane / a.channels * a.x_stride[0] + plane % a.channels * a.x_stride[1];
    SCALAR* y = a.y + plane / a.channels * a.y_stride[0] + plane % a.channels * a.y_stride[1];

    load_taps(taps, a.f, TAPS, a.flip, 1);
    load_tile<IH, IW>(tile, odd(IW), x, a.x_stride[2], a.x_stride[3], (y0*DOWN - a.pad_y + SKIP_Y) / UP, (x0*DOWN - a.pad_x + SKIP_X) / UP,
                      a.in_h, a.in_w, 0);
    __syncthreads();

    wide f[TAPS], out[4];
    keep(f, taps);
    for (int i = threadIdx.x; i < IH*TW/4; i += blockDim.x) { // neighbouring threads take neighbouring rows
        int row = i % IH, col = i / IH * 4;
        resample4<UP, DOWN, SKIP_X>(tile + row*odd(IW) + col*DOWN/UP, 1, f, out);
        for (int j = 0; j < 4; j++) wide_rows[row*odd(TW) + col + j] = out[j];
    }
    __syncthreads();

    for (int i = threadIdx.x; i < TH/4*TW; i += blockDim.x) { // neighbouring threads take neighbouring columns
        int row = i / TW * 4, col = i % TW;
        resample4<UP, DOWN, SKIP_Y>(wide_rows + row*DOWN/UP*odd(TW) + col, odd(TW), f, out);
        for (int j = 0; j < 4; j++)
            if (y0 + row + j < a.out_h && x0 + col < a.out_w) put(out[j] * wide(a.gain), y + (y0 + row + j)*a.y_stride[2] + (x0 + col)*a.y_stride[3]);
    }
}
