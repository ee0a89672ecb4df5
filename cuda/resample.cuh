// One line, resampled: zero insertion by UP, a filter, decimation by DOWN. Everything but the numbers is known when compiling.
#pragma once

__device__ constexpr int round4(int n) { return (n + 3) / 4 * 4; }
__device__ constexpr int odd(int n) { return n | 1; } // as the pitch of rows in shared memory, spreads a column over all banks

// Inputs that n neighbouring outputs look at. The first output's first tap that meets a number, rather than an inserted zero, is `skip`.
__device__ constexpr int reach(int n, int up, int down, int taps, int skip) { return ((n - 1)*down + taps - 1 - skip) / up + 1; }

// Four neighbouring outputs:  out[j] = sum over k of f[k] * line[(j*down + k - skip) / up], where that division leaves no rest.
// A number is read once and used for all four.
template<int up, int down, int skip, int taps>
__device__ inline void resample4(const wide* line, int step, const wide (&f)[taps], wide (&out)[4]) {
    constexpr int span = reach(4, up, down, taps, skip);
    wide v[span];
    #pragma unroll
    for (int i = 0; i < span; i++) v[i] = line[i * step];
    #pragma unroll
    for (int j = 0; j < 4; j++) {
        out[j] = 0;
        #pragma unroll
        for (int k = 0; k < taps; k++)
            if ((j*down + k - skip) % up == 0) out[j] += f[k] * v[(j*down + k - skip) / up];
    }
}

// Taps from global to shared memory, scaled. A convolution runs its taps backwards, a correlation (flip) forwards. No filter is a single 1.
__device__ inline void load_taps(wide* to, const wide* from, int n, int flip, double gain) {
    for (int k = threadIdx.x; k < n; k += blockDim.x) to[k] = from ? from[flip ? k : n - 1 - k] * wide(gain) : wide(gain);
}

// Taps from shared memory to registers.
template<int taps> __device__ inline void keep(wide (&to)[taps], const wide* from) {
    #pragma unroll
    for (int k = 0; k < taps; k++) to[k] = from[k];
}

// The part [h, w] of a plane that starts at (y0, x0), as rows of `pitch`; `bias` is added to what is inside, and what is outside is zero.
template<int h, int w> __device__ inline void load_tile(wide* to, int pitch, const SCALAR* plane, int64 sy, int64 sx,
                                                        int y0, int x0, int height, int width, wide bias) {
    for (int i = threadIdx.x; i < h*w; i += blockDim.x) {
        int y = y0 + i / w, x = x0 + i % w;
        bool inside = y >= 0 && y < height && x >= 0 && x < width;
        to[i / w * pitch + i % w] = inside ? widen(plane[y*sy + x*sx]) + bias : wide(0);
    }
}

__device__ inline void put(wide v, SCALAR* p) { narrow(v, *p); }
