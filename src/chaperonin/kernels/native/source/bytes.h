// Products of rows with weights of one byte each, exact, on processors that have no dot product of bytes.
//
// AVX2 multiplies unsigned bytes with signed ones and adds the products of two neighbours in 16 bits, where levels up
// to 255 overflow unless the magnitudes of the two weights are 128 together at most. `round_weight(paired=True)` rounds
// so; weights that were rounded otherwise are multiplied as the sum of two halves.
#pragma once

#include "vectors.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace chaperonin {

// Columns of a tile, and so of a panel of bytes; rows of a tile: 10 sums beside 2 of the panel, a row, a product, ones.
constexpr int BYTE_PANEL = 16, BYTE_ROWS = 5;
// What the magnitudes of two neighbours of a weight may be together: 255 times as much fits in 16 bits.
constexpr long MOST_OF_PAIR = 128;

// A row as levels 0 to 255 between its lowest and its highest value: x ≈ scale · level + low.
struct Levels {
    uint8_t *levels;  // [rows, row]: zeros behind the inputs
    long row;
    float *scales, *lows;
};

// quantize_rows of linear/rounding.py, number for number where the compiler fuses no product with a sum. A row with a
// number that is none, or without end, is one of NaNs.
inline void round_row(const float *x, long inputs, long r, const Levels &to) {
    float low = x[0], high = x[0], wrong = 0;
#pragma omp simd reduction(min : low) reduction(max : high) reduction(+ : wrong)
    for (long k = 0; k < inputs; ++k) {
        low = x[k] < low ? x[k] : low;
        high = x[k] > high ? x[k] : high;
        wrong += x[k] * 0.0f;
    }
    const float largest = __builtin_fmaxf(__builtin_fabsf(low), __builtin_fabsf(high));
    const float narrowest = __builtin_fmaxf(largest * 0x1p-12f, 1e-30f);
    const float scale = __builtin_fmaxf(high - low, narrowest) / 255.0f, inverse = 1.0f / scale;
    const float shift = 0.5f - low * inverse;
    uint8_t *levels = to.levels + r * to.row;
    const bool fine = wrong == 0.0f;
    // Adding a half and cutting off rounds: nothing is negative.
#pragma omp simd
    for (long k = 0; k < inputs; ++k) levels[k] = uint8_t(int32_t(fine ? x[k] * inverse + shift : 0.0f));
    for (long k = inputs; k < to.row; ++k) levels[k] = 0;
    to.scales[r] = fine ? scale : __builtin_nanf("");
    to.lows[r] = fine ? low : __builtin_nanf("");
}

// x · Φ(x), to 3e-7 of the larger of |x| and 1: erf(z) is z times a quotient of polynomials in z², fitted for the
// least error up to 3.9, beyond which it is 1 to 4e-8.
inline float gelu(float x) {
    float z = x * 0.707106781f;
    z = z > 3.9f ? 3.9f : z < -3.9f ? -3.9f : z;
    const float square = z * z;
    float above = 2.0503690e-06f;
    above = above * square + 2.8745769e-04f;
    above = above * square + 3.8369258e-03f;
    above = above * square + 5.2967072e-02f;
    above = above * square + 1.9194226e-01f;
    above = above * square + 1.1283790e+00f;
    float below = 3.8230573e-05f;
    below = below * square + 1.1817452e-03f;
    below = below * square + 1.5109305e-02f;
    below = below * square + 1.1475871e-01f;
    below = below * square + 5.0343615e-01f;
    below = below * square + 1.0f;
    const float found = 0.5f * x * (1.0f + z * above / below);
    return x < -5.6f ? 0.0f : found;
}

enum Activation : long { NONE = 0, GELU = 1, SWIGLU = 2, GEGLU = 3 };

// What becomes of the integers of a product.
struct Scaling {
    const float *scales;    // [outputs]
    const int32_t *sums;    // [outputs]: of the weight's bytes, for what a row's lowest value adds
    const float *bias;      // [outputs], or none
    const float *residual;  // [rows, columns], or none
    long activation;
    long outputs;
    float *to;  // [rows, columns]

    bool gated() const { return activation >= SWIGLU; }
    // Of the result: a gate makes one number of two, the first half of them times an activation of the second.
    long columns() const { return gated() ? outputs / 2 : outputs; }
};

// Integers of one row and `count` outputs to what they stand for, bias included.
inline void scale_back(const int32_t *found, long r, long first, long count, const Levels &left, const Scaling &own,
                       float *to) {
    const float scale = left.scales[r], low = left.lows[r];
    each_of<BYTE_PANEL>(count, [&](long c) {
        const float weight_scale = own.scales[first + c];
        to[c] = float(found[c]) * weight_scale * scale + low * (float(own.sums[first + c]) * weight_scale);
    });
    if (own.bias) each_of<BYTE_PANEL>(count, [&](long c) { to[c] += own.bias[first + c]; });
}

// Activation or gate of a tile, all its numbers in one loop: they take turns where one alone would wait for itself.
inline void activate(float *values, const float *gates, long count, long activation) {
    const auto each = [&](auto body) {
#pragma omp simd
        for (long i = 0; i < count; ++i) values[i] = body(values[i], gates[i]);
    };
    if (activation == GELU) each([](float value, float) { return gelu(value); });
    if (activation == SWIGLU) each([](float value, float gate) { return value * gate * sigmoid(gate); });
    if (activation == GEGLU) each([](float value, float gate) { return value * gelu(gate); });
}

// Residual, and into the result.
inline void finish(const float *values, long r, long first, long count, const Scaling &own) {
    const long at = r * own.columns() + first;
    if (own.residual)
        each_of<BYTE_PANEL>(count, [&](long c) { own.to[at + c] = values[c] + own.residual[at + c]; });
    else
        each_of<BYTE_PANEL>(count, [&](long c) { own.to[at + c] = values[c]; });
}

#if defined(__AVX2__)
constexpr long MULTIPLIES_BYTES = 1;

// Rows of bytes as a panel [four inputs][16 outputs][4], zeros where there is no row and behind the inputs. Returns
// whether every two neighbours are small enough.
inline bool turn_bytes(const int8_t *rows, long inputs, long count, int8_t *panel) {
    const auto load = [&](long r, long k) {
        if (r >= count) return _mm_setzero_si128();
        const int8_t *from = rows + r * inputs + k;
        if (k + 16 <= inputs) return _mm_loadu_si128(reinterpret_cast<const __m128i *>(from));
        alignas(16) int8_t rest[16] = {};
        std::memcpy(rest, from, inputs - k);
        return _mm_load_si128(reinterpret_cast<const __m128i *>(rest));
    };
    __m128i most = _mm_setzero_si128();
    for (long k = 0; k < inputs; k += 16)
        for (long r = 0; r < BYTE_PANEL; r += 4) {
            __m128i a[4], b[4];
            for (long i = 0; i < 4; ++i) {
                a[i] = load(r + i, k);
                most = _mm_max_epi16(most, _mm_maddubs_epi16(_mm_abs_epi8(a[i]), _mm_set1_epi8(1)));
            }
            for (long i = 0; i < 4; i += 2) {  // fours of two rows side by side, then of four
                b[i] = _mm_unpacklo_epi32(a[i], a[i + 1]);
                b[i + 1] = _mm_unpackhi_epi32(a[i], a[i + 1]);
            }
            int8_t *to = panel + k * BYTE_PANEL + 4 * r;
            for (long i = 0; i < 2; ++i) {
                const __m128i low = _mm_unpacklo_epi64(b[i], b[i + 2]), high = _mm_unpackhi_epi64(b[i], b[i + 2]);
                _mm_store_si128(reinterpret_cast<__m128i *>(to + 128 * i), low);
                _mm_store_si128(reinterpret_cast<__m128i *>(to + 128 * i + 64), high);
            }
        }
    return !_mm_movemask_epi8(_mm_cmpgt_epi16(most, _mm_set1_epi16(MOST_OF_PAIR)));
}

// A panel as the sum of two, the second behind the first: halves of any byte are small enough.
inline void halve_bytes(int8_t *panel, long size) {
#pragma omp simd
    for (long i = 0; i < size; ++i) {
        const int8_t whole = panel[i];
        panel[i] = int8_t(whole >> 1);
        panel[size + i] = int8_t(whole - (whole >> 1));
    }
}

// to[r][c] = sum over k of left[r · row + k] · panel[k][c], in integers; `parts` panels of `size` are added.
template <int rows>
static void byte_tile(const uint8_t *left, long row, const int8_t *panel, long size, long parts, long fours,
                      int32_t *to) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i sum[rows][2];
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) sum[r][0] = sum[r][1] = _mm256_setzero_si256();
    for (; parts > 0; --parts, panel += size) {
        const int8_t *own = panel;
        for (long k = 0; k < fours; ++k, own += 4 * BYTE_PANEL) {
            __m256i first = _mm256_load_si256(reinterpret_cast<const __m256i *>(own));
            __m256i second = _mm256_load_si256(reinterpret_cast<const __m256i *>(own + 32));
#pragma GCC unroll 8
            for (int r = 0; r < rows; ++r) {
                int32_t four;
                std::memcpy(&four, left + r * row + 4 * k, 4);
                const __m256i levels = _mm256_set1_epi32(four);
                const __m256i a = _mm256_maddubs_epi16(levels, first), b = _mm256_maddubs_epi16(levels, second);
                sum[r][0] = _mm256_add_epi32(sum[r][0], _mm256_madd_epi16(a, ones));
                sum[r][1] = _mm256_add_epi32(sum[r][1], _mm256_madd_epi16(b, ones));
                // One row after the other: the compiler would load all of them first and run out of registers.
                asm("" : "+x"(sum[r][0]), "+x"(sum[r][1]), "+x"(first), "+x"(second));
            }
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
        for (int c = 0; c < 2; ++c)
            _mm256_store_si256(reinterpret_cast<__m256i *>(to + r * BYTE_PANEL + 8 * c), sum[r][c]);
}

typedef void (*ByteTile)(const uint8_t *, long, const int8_t *, long, long, long, int32_t *);
constexpr ByteTile BYTE_TILES[BYTE_ROWS + 1] = {nullptr,      byte_tile<1>, byte_tile<2>,
                                                byte_tile<3>, byte_tile<4>, byte_tile<5>};

// Some panels of a weight [outputs, inputs], whose first output is `first`, times all rows: a tile of rows is read
// once for all of them. Each panel of a gated product has its gates' panel behind it; `room` is for two of each.
inline void times_bytes(const Levels &left, long rows, const int8_t *weight, long inputs, long first, long panels,
                        int8_t *room, const Scaling &own) {
    const long size = left.row * BYTE_PANEL, sides = own.gated() ? 2 : 1, columns = own.columns();
    const auto count_of = [&](long p) {
        const long left_over = columns - first - p * BYTE_PANEL;
        return left_over < BYTE_PANEL ? left_over : BYTE_PANEL;
    };
    bool small = true;
    for (long p = 0; p < panels; ++p)
        for (long side = 0; side < sides; ++side) {
            const long begin = side * columns + first + p * BYTE_PANEL;
            small &= turn_bytes(weight + begin * inputs, inputs, count_of(p), room + (sides * p + side) * 2 * size);
        }
    if (!small)
        for (long p = 0; p < sides * panels; ++p) halve_bytes(room + p * 2 * size, size);
    alignas(32) int32_t found[2][BYTE_ROWS * BYTE_PANEL];
    alignas(32) float values[2][BYTE_ROWS * BYTE_PANEL] = {};
    for (long r = 0, height; r < rows; r += height) {
        height = rows - r < BYTE_ROWS ? rows - r : BYTE_ROWS;
        for (long p = 0; p < panels; ++p) {
            const long begin = first + p * BYTE_PANEL, count = count_of(p);
            for (long side = 0; side < sides; ++side) {
                BYTE_TILES[height](left.levels + r * left.row, left.row, room + (sides * p + side) * 2 * size, size,
                                   small ? 1 : 2, (inputs + 3) / 4, found[side]);
                for (long i = 0; i < height; ++i)
                    scale_back(found[side] + i * BYTE_PANEL, r + i, side * columns + begin, count, left, own,
                               values[side] + i * BYTE_PANEL);
            }
            activate(values[0], values[1], height * BYTE_PANEL, own.activation);
            for (long i = 0; i < height; ++i) finish(values[0] + i * BYTE_PANEL, r + i, begin, count, own);
        }
    }
}
#else
constexpr long MULTIPLIES_BYTES = 0;

inline void times_bytes(const Levels &, long, const int8_t *, long, long, long, int8_t *, const Scaling &) {}
#endif

}  // namespace chaperonin
