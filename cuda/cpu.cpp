// What StyleGAN's layers spend their time on, for CPUs, without gradients: convolutions of 3 x 3 by Winograd's method and of 1 x 1, and
// the filtered activation. Pictures are float, [pictures, rows, columns, channels] in memory. Compiled by whatever C++ compiler is there.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <system_error>
#include <thread>
#include <vector>

typedef long long int64;

// ---------------------------------------------------------------- vectors and threads
// Vectors of the compiler's, as wide as the processor's registers: neighbouring channels.
#if defined(__AVX512F__)
constexpr int W = 16, ROWS = 12;
#elif defined(__AVX__)
constexpr int W = 8, ROWS = 6;
#elif defined(__aarch64__)
constexpr int W = 4, ROWS = 12;
#else
constexpr int W = 4, ROWS = 6;
#endif
typedef float vec __attribute__((vector_size(4*W)));
typedef float loose __attribute__((vector_size(4*W), aligned(4), may_alias)); // anywhere in memory
constexpr int PANEL = 2*W; // results that one product makes side by side

static inline vec load(const float* p) { return *(const loose*)p; }
static inline void store(float* p, vec v) { *(loose*)p = v; }
static inline vec load(const float* p, int n) { vec v = {}; if (n >= W) return load(p); memcpy(&v, p, 4*n); return v; } // the first n only
static inline void store(float* p, vec v, int n) { if (n >= W) store(p, v); else memcpy(p, &v, 4*n); }
static inline vec all(float f) { return vec{} + f; }
static inline int64 up_to(int64 n, int64 m) { return (n + m - 1) / m * m; }

// f(worker, item) for every item; whoever is free takes the next.
template<class F> static void share(int64 items, int threads, F f) {
    std::atomic<int64> next(0);
    auto work = [&](int worker) { for (int64 i; (i = next++) < items; ) f(worker, i); };
    std::vector<std::thread> others;
    try { for (int t = 1; t < std::min<int64>(threads, items); t++) others.emplace_back(work, t); }
    catch (const std::system_error&) {} // no more threads to be had: fewer do it
    work(0);
    for (auto& t : others) t.join();
}

// ---------------------------------------------------------------- products of matrices
// c [ROWS, PANEL] = a [ROWS, k] b [k, PANEL], in registers.
static inline void product(const float* a, int64 pitch, const float* b, int64 k, float* c, int64 c_pitch) {
    vec sum[ROWS][2] = {};
    for (int64 i = 0; i < k; i++) {
        vec left = load(b + i*PANEL), right = load(b + i*PANEL + W);
        #pragma GCC unroll 16
        for (int r = 0; r < ROWS; r++) { float f = a[r*pitch + i]; sum[r][0] += f * left; sum[r][1] += f * right; }
    }
    #pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) { store(c + r*c_pitch, sum[r][0]); store(c + r*c_pitch + W, sum[r][1]); }
}

static inline int64 pitch_of(int64 channels) { return up_to(channels, W) + W; } // no power of two, which would crowd a cache's sets
static inline int64 panels(int64 channels) { return (channels + PANEL - 1) / PANEL; }

// ---------------------------------------------------------------- convolution of 3 x 3
// Winograd's F(4 x 4, 3 x 3) with the points 0, +-A, +-B and infinity, as the package's `ops` explains it: A^2 = 1/2, B^2 = 2.
constexpr float A = 0.70710678f, B = 1.41421356f;

// Six pixels, a step apart, to six products' factors.
static inline void pixels6(vec* d, int step) {
    vec d0 = d[0], d1 = d[step], d2 = d[2*step], d3 = d[3*step], d4 = d[4*step], d5 = d[5*step];
    vec even_a = d4 - 2*d2, odd_a = A*(d3 - 2*d1), even_b = d4 - .5f*d2, odd_b = B*(d3 - .5f*d1);
    d[0] = d0 - 2.5f*d2 + d4;
    d[step] = even_a + odd_a; d[2*step] = even_a - odd_a;
    d[3*step] = even_b + odd_b; d[4*step] = even_b - odd_b;
    d[5*step] = d5 - 2.5f*d3 + d1;
}

// Three taps to the other factors.
static inline void taps3(const vec* g, int step, vec* to, int to_step) {
    vec g0 = g[0], g1 = g[step], g2 = g[2*step];
    vec even_a = (g0 + .5f*g2) * (-1/1.5f), odd_a = g1 * (-A/1.5f), even_b = (g0 + 2*g2) * (1/6.f), odd_b = g1 * (B/6);
    to[0] = g0;
    to[to_step] = even_a + odd_a; to[2*to_step] = even_a - odd_a;
    to[3*to_step] = even_b + odd_b; to[4*to_step] = even_b - odd_b;
    to[5*to_step] = g2;
}

// Six products to four results.
static inline void results4(const vec* m, int step, vec* y, int y_step) {
    vec sum_a = m[step] + m[2*step], diff_a = m[step] - m[2*step], sum_b = m[3*step] + m[4*step], diff_b = m[3*step] - m[4*step];
    y[0] = m[0] + sum_a + sum_b;
    y[y_step] = A*diff_a + B*diff_b;
    y[2*y_step] = .5f*sum_a + 2*sum_b;
    y[3*y_step] = A/2*diff_a + 2*B*diff_b + m[5*step];
}

struct Conv {
    const float *x, *w;            // [n, in_h, in_w, in], [out, in, k, k]
    const float *scale, *gain, *bias; // of what comes in [n, in], of the result [n, out], added to it [out]; each may be null
    float *y, *scratch;            // [n, in_h + 2 pad - k + 1, ..., out]; `scratch_size` numbers
    int64 n, in_h, in_w, in, out, pad, k, threads;
};

static int64 chunk_of(const Conv& c) { // tiles or pixels that a thread takes at a time: each time it goes through all weights
    if (c.k == 1) return 8*ROWS;
    int64 most = std::max<int64>(3*ROWS, (7 << 20) / (36*(c.in + c.out)) / ROWS * ROWS), tiles = c.n * ((c.in_h + 2*c.pad + 1)/4) * ((c.in_w + 2*c.pad + 1)/4);
    return std::min(std::min<int64>(most, 24*ROWS), up_to((tiles + c.threads - 1) / c.threads, ROWS));
}
static int64 weights_of(const Conv& c) { return (c.k == 1 ? 1 : 36) * panels(c.out)*PANEL * c.in; }
static int64 room_of(const Conv& c) { return (c.k == 1 ? 1 : 36) * chunk_of(c) * (pitch_of(c.in) + (c.k == 1 ? PANEL : panels(c.out)*PANEL + W)); } // of one thread

// Weights, transformed and put in the order in which products take them: [36 or 1, panels, in, PANEL].
static void prepare(const Conv& c, float* to) {
    int taps = c.k*c.k, planes = c.k == 1 ? 1 : 36;
    share(panels(c.out), c.threads, [&](int, int64 panel) {
        for (int64 i = 0; i < c.in; i++)
            for (int half = 0; half < 2; half++) {
                vec g[9] = {}, rows[18], all36[36];
                for (int64 lane = 0, o = panel*PANEL + half*W; lane < W && o < c.out; lane++, o++)
                    for (int t = 0; t < taps; t++) ((float*)&g[t])[lane] = c.w[(o*c.in + i)*taps + t];
                if (c.k == 3) {
                    for (int col = 0; col < 3; col++) taps3(g + col, 3, rows + col, 3);
                    for (int row = 0; row < 6; row++) taps3(rows + 3*row, 1, all36 + 6*row, 1);
                }
                for (int p = 0; p < planes; p++) store(to + ((p*panels(c.out) + panel)*c.in + i)*PANEL + half*W, c.k == 3 ? all36[p] : g[0]);
            }
    });
}

static inline vec finished(const Conv& c, vec v, int64 n, int64 o) {
    int room = c.out - o;
    if (c.gain) v *= load(c.gain + n*c.out + o, room);
    if (c.bias) v += load(c.bias + o, room);
    return v;
}

// The tile at (row, col) of picture n, transformed, to row t of 36 matrices [chunk, pitch].
static void tile_in(const Conv& c, int64 n, int64 row, int64 col, float* to, int64 plane, const float* zeros) {
    const float* at[36];
    for (int i = 0; i < 36; i++) {
        int64 y = 4*row + i/6 - c.pad, x = 4*col + i%6 - c.pad;
        at[i] = y >= 0 && y < c.in_h && x >= 0 && x < c.in_w ? c.x + ((n*c.in_h + y)*c.in_w + x)*c.in : zeros;
    }
    for (int64 i = 0; i < c.in; i += W) {
        vec d[36], s = c.scale ? load(c.scale + n*c.in + i, c.in - i) : all(1);
        if (c.in - i >= W) for (int j = 0; j < 36; j++) d[j] = load(at[j] + i) * s;
        else for (int j = 0; j < 36; j++) d[j] = load(at[j] + i, c.in - i) * s;
        for (int j = 0; j < 6; j++) pixels6(d + j, 6);
        for (int j = 0; j < 6; j++) pixels6(d + 6*j, 1);
        for (int j = 0; j < 36; j++) store(to + j*plane + i, d[j]);
    }
}

static void tile_out(const Conv& c, int64 n, int64 row, int64 col, const float* from, int64 plane) {
    int64 h = c.in_h + 2*c.pad - 2, w = c.in_w + 2*c.pad - 2;
    for (int64 o = 0; o < c.out; o += W) {
        vec m[36], half[24], y[16];
        for (int j = 0; j < 36; j++) m[j] = load(from + j*plane + o);
        for (int j = 0; j < 6; j++) results4(m + j, 6, half + j, 6);
        for (int j = 0; j < 4; j++) results4(half + 6*j, 1, y + 4*j, 1);
        for (int j = 0; j < 16; j++) {
            int64 r = 4*row + j/4, s = 4*col + j%4;
            if (r < h && s < w) store(c.y + ((n*h + r)*w + s)*c.out + o, finished(c, y[j], n, o), c.out - o);
        }
    }
}

static void conv3(const Conv& c) {
    int64 high = (c.in_h + 2*c.pad + 1)/4, wide = (c.in_w + 2*c.pad + 1)/4, tiles = c.n*high*wide, chunk = chunk_of(c);
    int64 in = pitch_of(c.in), out = panels(c.out)*PANEL + W;
    float *weights = c.scratch, *rooms = weights + weights_of(c);
    std::vector<float> zeros(c.in);
    prepare(c, weights);
    share((tiles + chunk - 1)/chunk, c.threads, [&](int worker, int64 item) {
        float *v = rooms + worker*room_of(c), *m = v + 36*chunk*in;
        int64 first = item*chunk, count = std::min(chunk, tiles - first);
        for (int64 t = 0; t < count; t++) {
            int64 i = first + t;
            tile_in(c, i/(high*wide), i/wide%high, i%wide, v + t*in, chunk*in, zeros.data());
        }
        for (int p = 0; p < 36; p++)
            for (int64 panel = 0; panel < panels(c.out); panel++)
                for (int64 t = 0; t < count; t += ROWS) // beyond `count` lie old numbers, and what comes of them is not looked at
                    product(v + (p*chunk + t)*in, in, weights + (p*panels(c.out) + panel)*c.in*PANEL, c.in, m + (p*chunk + t)*out + panel*PANEL, out);
        for (int64 t = 0; t < count; t++) {
            int64 i = first + t;
            tile_out(c, i/(high*wide), i/wide%high, i%wide, m + t*out, chunk*out);
        }
    });
}

// ---------------------------------------------------------------- convolution of 1 x 1
static void conv1(const Conv& c) {
    int64 per = c.in_h*c.in_w, pixels = c.n*per, chunk = chunk_of(c), in = pitch_of(c.in);
    float *weights = c.scratch, *rooms = weights + weights_of(c);
    prepare(c, weights);
    share((pixels + chunk - 1)/chunk, c.threads, [&](int worker, int64 item) {
        float *v = rooms + worker*room_of(c), *m = v + chunk*in;
        int64 first = item*chunk, count = std::min(chunk, pixels - first);
        for (int64 t = 0; t < count; t++)
            for (int64 i = 0; i < c.in; i += W) {
                vec s = c.scale ? load(c.scale + (first + t)/per*c.in + i, c.in - i) : all(1);
                store(v + t*in + i, load(c.x + (first + t)*c.in + i, c.in - i) * s);
            }
        for (int64 panel = 0; panel < panels(c.out); panel++) {
            for (int64 t = 0; t < count; t += ROWS) product(v + t*in, in, weights + panel*c.in*PANEL, c.in, m + t*PANEL, PANEL);
            for (int64 t = 0; t < count; t++)
                for (int64 o = panel*PANEL; o < std::min((panel + 1)*PANEL, c.out); o += W)
                    store(c.y + (first + t)*c.out + o, finished(c, load(m + t*PANEL + o%PANEL), (first + t)/per, o), c.out - o);
        }
    });
}

// ---------------------------------------------------------------- filtered activation
struct Filtered {
    const float *x, *scale, *bias; // [n, in_h, in_w, channels], [n, channels], [channels]
    const float *up_taps, *down_taps; // [6 up], which brings the gain; [12], or [12, 12]; symmetric
    float *y, *scratch;            // [n, out_h, out_w, channels]
    int64 n, in_h, in_w, channels, out_h, out_w, pad, threads, up, radial;
    float slope, clamp;
};

constexpr int PHASE = 6, TAPS = 12, DOWN = 2; // taps that meet one fine pixel; of the second filter; its step
constexpr int TILE = 24;                      // columns of the result at a time, so that a strip's rows stay in the nearest cache
constexpr int FINE = (TILE - 1)*DOWN + TAPS;  // fine columns they need
constexpr int GROUPS = FINE/2 + 3, COLUMNS = GROUPS + PHASE + 1; // most groups of `up` fine columns, and coarse columns for them
constexpr int LINE = 2*GROUPS > FINE + 8 ? 2*GROUPS : FINE + 8;

struct Strip { // what one thread keeps of a strip of columns, for W channels
    vec in[PHASE + 1][COLUMNS], tall[4][COLUMNS], fine[LINE + 4], ring[TAPS][LINE + 4], folded[TAPS/2][LINE + 4];
};

static inline vec activated(vec v, vec slope, vec clamp) {
    vec low = v * slope;
    v = v > low ? v : low;
    v = v > clamp ? clamp : v;
    return v < -clamp ? -clamp : v;
}

// `up` neighbouring fine numbers from PHASE + 1 coarse ones.
template<int up> static inline void enlarge(const vec* x, const float* taps, vec (&y)[up]) {
    for (int q = 0; q < up; q++) y[q] = vec{};
    #pragma GCC unroll 8
    for (int k = 0; k <= PHASE; k++) {
        vec v = x[k];
        #pragma GCC unroll 4
        for (int q = 0; q < up; q++) // of fine pixel q, tap (up - q) % up + up*m meets coarse pixel m + (q > 0)
            if (k - (q > 0) >= 0 && k - (q > 0) < PHASE) y[q] += taps[(up - q) % up + up*(k - (q > 0))] * v;
    }
}

// NB neighbouring results of one line, DOWN apart, added to y.
template<int NB> static inline void shrink(const vec* x, const float* taps, vec (&y)[NB]) {
    #pragma GCC unroll 32
    for (int k = 0; k < (NB - 1)*DOWN + TAPS; k++) {
        vec v = x[k];
        #pragma GCC unroll 8
        for (int j = 0; j < NB; j++) if (k - j*DOWN >= 0 && k - j*DOWN < TAPS) y[j] += taps[k - j*DOWN] * v;
    }
}

static void read_row(const Filtered& a, vec* to, int64 n, int64 row, int64 col, int64 count, int64 c) { // scaled, biased; zero where there is none
    int lanes = std::min<int64>(W, a.channels - c);
    vec s = a.scale ? load(a.scale + n*a.channels + c, lanes) : all(1), b = a.bias ? load(a.bias + c, lanes) : vec{};
    const float* x = a.x + ((n*a.in_h + row)*a.in_w)*a.channels + c;
    for (int64 i = 0; i < count; i++) {
        bool inside = row >= 0 && row < a.in_h && col + i >= 0 && col + i < a.in_w;
        if (inside && row + 1 < a.in_h) __builtin_prefetch(x + (col + i + a.in_w)*a.channels); // neighbours in a column are far apart in memory
        to[i] = !inside ? vec{} : lanes == W ? load(x + (col + i)*a.channels) * s + b : load(x + (col + i)*a.channels, lanes) * s + b;
    }
}

// The result's row from the last TAPS fine rows, of which `r` is the number of the first.
static inline void write_row(const Filtered& a, Strip& s, const float* taps, int64 r, int64 cut, float* y, int64 count, int lanes) {
    for (int64 i = 0; i < count; i++) __builtin_prefetch(y + (i + a.out_w)*a.channels, 1);
    const vec* row[TAPS];
    for (int k = 0; k < TAPS; k++) row[k] = s.ring[(r + k) % TAPS];
    if (!a.radial) {
        for (int64 i = 0; i < count; i++) {
            vec v = {};
            #pragma GCC unroll 12
            for (int k = 0; k < TAPS; k++) v += taps[k] * row[k][i];
            store(y + i*a.channels, v, lanes);
        }
        return;
    }
    for (int k = 0; k < TAPS/2; k++) // a symmetric filter has each row of taps twice
        for (int64 i = 0; i < (count - 1)*DOWN + TAPS; i++) s.folded[k][i] = row[k][i + cut] + row[TAPS - 1 - k][i + cut];
    for (int64 i = 0; i < count; i += 4) {
        vec v[4] = {};
        for (int k = 0; k < TAPS/2; k++) shrink<4>(s.folded[k] + i*DOWN, a.down_taps + k*TAPS, v);
        for (int64 j = 0; j < std::min<int64>(4, count - i); j++) store(y + (i + j)*a.channels, v[j], lanes);
    }
}

template<int up> static void strip(const Filtered& a, Strip& s, int64 n, int64 c, int64 col, int64 count) { // results from column `col` on
    auto below = [](int64 p, int64 q) { return p >= 0 ? p/q : -((-p + q - 1)/q); }; // division, rounded down
    vec slope = all(a.slope), clamp = all(a.clamp);
    float up_taps[PHASE*up], down_taps[TAPS]; // copies, of which the compiler knows that nothing changes them
    memcpy(up_taps, a.up_taps, sizeof(up_taps)); memcpy(down_taps, a.down_taps, sizeof(down_taps));
    int lanes = std::min<int64>(W, a.channels - c);
    int64 left = below(col*DOWN - a.pad, up), cut = col*DOWN - a.pad - left*up; // the first coarse column, and the fine ones made too many
    int64 fine = (count - 1)*DOWN + TAPS, groups = (cut + fine + up - 1)/up, coarse = groups + PHASE;
    int64 top = below(-a.pad, up), skip = -a.pad - top*up, last = (a.out_h - 1)*DOWN + TAPS; // the same for rows
    for (int k = 0; k < PHASE; k++) read_row(a, s.in[k], n, top + k, left, coarse, c);
    for (int64 g = 0, r = -skip; r < last; g++) {
        read_row(a, s.in[(g + PHASE) % (PHASE + 1)], n, top + g + PHASE, left, coarse, c);
        const vec* in[PHASE + 1];
        for (int k = 0; k <= PHASE; k++) in[k] = s.in[(g + k) % (PHASE + 1)];
        for (int64 i = 0; i < coarse; i++) {
            vec x[PHASE + 1], y[up];
            for (int k = 0; k <= PHASE; k++) x[k] = in[k][i];
            enlarge<up>(x, up_taps, y);
            for (int q = 0; q < up; q++) s.tall[q][i] = y[q];
        }
        for (int q = 0; q < up && r < last; q++, r++) {
            if (r < 0) continue;
            vec* to = a.radial ? s.ring[r % TAPS] : s.fine;
            for (int64 i = 0; i < groups; i++) {
                vec y[up];
                enlarge<up>(&s.tall[q][i], up_taps, y);
                for (int j = 0; j < up; j++) to[i*up + j] = activated(y[j], slope, clamp);
            }
            if (!a.radial)
                for (int64 i = 0; i < count; i += 4) {
                    vec v[4] = {};
                    shrink<4>(s.fine + cut + i*DOWN, down_taps, v);
                    for (int j = 0; j < 4; j++) s.ring[r % TAPS][i + j] = v[j];
                }
            if (r >= TAPS - 1 && (r - TAPS + 1) % DOWN == 0) {
                int64 o = (r - TAPS + 1)/DOWN;
                write_row(a, s, down_taps, r - TAPS + 1, cut, a.y + ((n*a.out_h + o)*a.out_w + col)*a.channels + c, count, lanes);
            }
        }
    }
}

// ---------------------------------------------------------------- what Python calls
extern "C" int64 conv_scratch(const Conv* c) { return weights_of(*c) + c->threads*room_of(*c); } // numbers
extern "C" void conv(const Conv* c) { c->k == 1 ? conv1(*c) : conv3(*c); }

extern "C" int64 filtered_lrelu_scratch(const Filtered* a) { return a->threads * sizeof(Strip)/4 + W; }
extern "C" void filtered_lrelu(const Filtered* a) {
    int64 blocks = (a->channels + W - 1)/W, tiles = (a->out_w + TILE - 1)/TILE;
    Strip* strips = (Strip*)(((size_t)a->scratch + 4*W - 1) / (4*W) * (4*W));
    share(a->n*blocks*tiles, a->threads, [&](int worker, int64 i) {
        int64 n = i/(blocks*tiles), block = i/tiles%blocks, col = i%tiles*TILE, count = std::min<int64>(TILE, a->out_w - col);
        if (a->up == 2) strip<2>(*a, strips[worker], n, block*W, col, count);
        else strip<4>(*a, strips[worker], n, block*W, col, count);
    });
}
