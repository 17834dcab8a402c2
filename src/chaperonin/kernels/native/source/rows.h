// What happens to rows beside products: layer norm, and turning rows into columns.
#pragma once

#include <utility>

#include "vectors.h"

namespace chaperonin {

struct Norm {
    const float *scale, *shift;
    float epsilon;
};

// Sum of term(value) in four vectors: with one, each addition would wait for the one before.
template <class Term>
inline float sum_of(const float *x, long width, Term term) {
    typedef Vector<LANES>::type vector;
    vector sums[4] = {};
    long k = 0;
    for (; k + 4 * LANES <= width; k += 4 * LANES)
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) sums[i] += term(*reinterpret_cast<const vector *>(x + k + i * LANES));
    const vector all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    float sum = 0;
    for (int i = 0; i < LANES; ++i) sum += all[i];
    for (; k < width; ++k) sum += term(x[k]);
    return sum;
}

// Layer norm of one row; mean and variance in two passes.
inline void normalise(const float *x, long width, const Norm &norm, float *to) {
    const float mean = sum_of(x, width, [](auto value) { return value; }) / float(width);
    const float squares = sum_of(x, width, [&](auto value) { return (value - mean) * (value - mean); });
    const float inverse = 1.0f / __builtin_sqrtf(squares / float(width) + norm.epsilon);
#pragma omp simd
    for (long k = 0; k < width; ++k) to[k] = (x[k] - mean) * inverse * norm.scale[k] + norm.shift[k];
}

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define CHAPERONIN_SHUFFLES 1
#endif
#endif

#ifdef CHAPERONIN_SHUFFLES
// Of every two neighbouring blocks of `by` lanes, the first ones of both vectors, or the second ones.
template <int by, class V, int... lane>
inline V first_blocks(V a, V b, std::integer_sequence<int, lane...>) {
    return __builtin_shufflevector(a, b, ((lane & by) ? (lane ^ by) + LANES : lane)...);
}

template <int by, class V, int... lane>
inline V second_blocks(V a, V b, std::integer_sequence<int, lane...>) {
    return __builtin_shufflevector(a, b, ((lane & by) ? lane + LANES : (lane ^ by))...);
}

// A square of LANES rows turned by swapping its blocks, from single numbers up to halves.
template <int by, class V>
inline void swap_blocks(V (&square)[LANES]) {
    constexpr auto lanes = std::make_integer_sequence<int, LANES>{};
#pragma GCC unroll 16
    for (int r = 0; r < LANES; ++r)
        if (!(r & by)) {
            const V a = square[r], b = square[r | by];
            square[r] = first_blocks<by>(a, b, lanes);
            square[r | by] = second_blocks<by>(a, b, lanes);
        }
    if constexpr (2 * by < LANES) swap_blocks<2 * by>(square);
}
#endif

// to[c][r] = from[r][c]
inline void transpose(const float *from, long from_row, long rows, long columns, float *to, long to_row) {
    long whole_rows = 0, whole_columns = 0;
#ifdef CHAPERONIN_SHUFFLES
    typedef typename Vector<LANES>::type vector;
    whole_rows = rows / LANES * LANES, whole_columns = columns / LANES * LANES;
    for (long r = 0; r < whole_rows; r += LANES)
        for (long c = 0; c < whole_columns; c += LANES) {
            vector square[LANES];
#pragma GCC unroll 16
            for (int i = 0; i < LANES; ++i)
                square[i] = *reinterpret_cast<const vector *>(from + (r + i) * from_row + c);
            swap_blocks<1>(square);
#pragma GCC unroll 16
            for (int i = 0; i < LANES; ++i) *reinterpret_cast<vector *>(to + (c + i) * to_row + r) = square[i];
        }
#endif
    for (long r = 0; r < whole_rows; ++r)
        for (long c = whole_columns; c < columns; ++c) to[c * to_row + r] = from[r * from_row + c];
    for (long r = whole_rows; r < rows; ++r)
        for (long c = 0; c < columns; ++c) to[c * to_row + r] = from[r * from_row + c];
}

// Up to PANEL rows [count, width] as a panel [width][PANEL], zeros in the columns that have no row.
inline void turn(const float *rows, long row, long count, long width, float *panel) {
    if (count < PANEL) std::memset(panel, 0, 4 * width * PANEL);
    transpose(rows, row, count, width, panel, PANEL);
}

// One panel of a weight [outputs, inputs], as PyTorch keeps it: [panel][input][PANEL outputs], filled up with zeros.
inline void pack(const float *weight, long p, long outputs, long inputs, float *panels) {
    const long first = p * PANEL, count = outputs - first < PANEL ? outputs - first : PANEL;
    turn(weight + first * inputs, inputs, count, inputs, panels + p * inputs * PANEL);
}

}  // namespace chaperonin
