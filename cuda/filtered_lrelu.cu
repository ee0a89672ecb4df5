// Bias, enlarge, leaky ReLU, shrink, without a trip to memory between them (Karras et al. 2021, section 3.2 and appendix B).
// One block makes a tile of TH x TW outputs of one plane, in five steps in shared memory:
//
//   tile [IH, IW] --along x--> rows [IH, MW] --along y, activate--> mid [MH, MW] --along x--> cols [MH, TW] --along y--> out
//
// The enlarged picture has mid_h x mid_w numbers; outside it is zero. Codes of the activation (common.cuh) are kept for four rows in a byte,
// [planes, ceil(mid_h / 4), mid_w]. A tile's part of the enlarged picture begins at a multiple of four in both directions, CUT rows or columns
// before what it needs. With MODE == MASKED the same five steps are the transposed operator, or the linear part of the operator itself.
// Macros: SCALAR MODE UP DOWN TAPS_U TAPS_D SKIP_X SKIP_Y (pad modulo UP) CUT_X CUT_Y (-crop modulo 4) TW TH
#include "common.cuh"
#include "resample.cuh"

struct Args {
    const SCALAR *x, *b; // b [channels], or null
    const wide *fu, *fd;
    SCALAR* y;
    byte* mask;
    int64 x_stride[4], y_stride[4]; // of picture, channel, row, column
    double slope, gain, clamp, gain_u, gain_d; // gain_u, gain_d: of the filters, along each axis
    int channels, in_h, in_w, mid_h, mid_w, out_h, out_w;
    int pad_x, pad_y;   // zeros before the enlarged picture's first number, for the first filter
    int crop_x, crop_y; // and before the enlarged picture, for the second
    int flip_u, flip_d;
};

constexpr int MW = round4(CUT_X + reach(TW, 1, DOWN, TAPS_D, 0)), MH = round4(CUT_Y + reach(TH, 1, DOWN, TAPS_D, 0));
constexpr int IW = reach(MW, UP, 1, TAPS_U, SKIP_X), IH = reach(MH, UP, 1, TAPS_U, SKIP_Y);

extern __shared__ wide pool[];

// Activate four numbers of a column, at row y (a multiple of 4) and column x of the enlarged picture, and write or read their codes.
__device__ inline void activate4(const Args& a, wide (&v)[4], byte* mask, int y, int x, bool mine) {
    bool inside = y >= 0 && y < a.mid_h && x >= 0 && x < a.mid_w;
    unsigned code, codes = MODE == MASKED && inside ? mask[int64(y / 4)*a.mid_w + x] : 0;
    for (int j = 0; j < 4; j++) {
        if (!inside || y + j >= a.mid_h) v[j] = 0;
        else if (MODE == MASKED) v[j] = masked(v[j], a.slope, a.gain, codes >> 2*j & 3);
        else { v[j] = activate(v[j], a.slope, a.gain, a.clamp, code); codes |= code << 2*j; }
    }
    if (MODE == SAVE && inside && mine) mask[int64(y / 4)*a.mid_w + x] = codes;
}

extern "C" __global__ void filtered_lrelu(Args a) {
    wide *taps_u = pool, *taps_d = taps_u + TAPS_U, *mid = taps_d + TAPS_D, *tile = mid + MH*odd(MW), *rows = tile + IH*odd(IW);
    wide* cols = tile; // takes the place of tile and rows
    int across = (a.out_w + TW - 1) / TW, down = (a.out_h + TH - 1) / TH, tiles = across * down;
    int plane = blockIdx.x / tiles, tx = blockIdx.x % tiles % across, ty = blockIdx.x % tiles / across;
    int n = plane / a.channels, c = plane % a.channels;
    const SCALAR* x = a.x + n*a.x_stride[0] + c*a.x_stride[1];
    SCALAR* y = a.y + n*a.y_stride[0] + c*a.y_stride[1];
    byte* mask = a.mask + int64(plane) * ((a.mid_h + 3) / 4) * a.mid_w;
    int mx = tx*TW*DOWN - a.crop_x - CUT_X, my = ty*TH*DOWN - a.crop_y - CUT_Y; // the tile's part of the enlarged picture begins here

    load_taps(taps_u, a.fu, TAPS_U, a.flip_u, a.gain_u);
    load_taps(taps_d, a.fd, TAPS_D, a.flip_d, a.gain_d);
    load_tile<IH, IW>(tile, odd(IW), x, a.x_stride[2], a.x_stride[3], (my - a.pad_y + SKIP_Y) / UP, (mx - a.pad_x + SKIP_X) / UP,
                      a.in_h, a.in_w, a.b ? widen(a.b[c]) : wide(0));
    __syncthreads();

    wide fu[TAPS_U], fd[TAPS_D], out[4];
    keep(fu, taps_u);
    for (int i = threadIdx.x; i < IH*MW/4; i += blockDim.x) {
        int row = i % IH, col = i / IH * 4;
        resample4<UP, 1, SKIP_X>(tile + row*odd(IW) + col/UP, 1, fu, out);
        for (int j = 0; j < 4; j++) rows[row*odd(MW) + col + j] = out[j];
    }
    __syncthreads();

    for (int i = threadIdx.x; i < MH/4*MW; i += blockDim.x) {
        int row = i / MW * 4, col = i % MW;
        resample4<UP, 1, SKIP_Y>(rows + row/UP*odd(MW) + col, odd(MW), fu, out);
        bool mine = (row < TH*DOWN || ty == down - 1) && (col < TW*DOWN || tx == across - 1); // tiles overlap: one of them writes
        activate4(a, out, mask, my + row, mx + col, mine);
        for (int j = 0; j < 4; j++) mid[(row + j)*odd(MW) + col] = out[j];
    }
    __syncthreads();

    keep(fd, taps_d);
    for (int i = threadIdx.x; i < MH*TW/4; i += blockDim.x) {
        int row = i % MH, col = i / MH * 4;
        resample4<1, DOWN, 0>(mid + row*odd(MW) + CUT_X + col*DOWN, 1, fd, out);
        for (int j = 0; j < 4; j++) cols[row*odd(TW) + col + j] = out[j];
    }
    __syncthreads();

    for (int i = threadIdx.x; i < TH/4*TW; i += blockDim.x) {
        int row = i / TW * 4, col = i % TW;
        resample4<1, DOWN, 0>(cols + (CUT_Y + row*DOWN)*odd(TW) + col, odd(TW), fd, out);
        for (int j = 0; j < 4; j++)
            if (ty*TH + row + j < a.out_h && tx*TW + col < a.out_w)
                put(out[j], y + int64(ty*TH + row + j)*a.y_stride[2] + int64(tx*TW + col)*a.y_stride[3]);
    }
}
