// Matrix products of rows with panels of factors: the one loop that takes the time.
#pragma once

#include "rows.h"

namespace chaperonin {

// to[r][c] = sum over k of left[r · row + k] · right[k · next + c], for `rows` rows and `columns` vectors of lanes.
// `soon` is what will be read afterwards: a cache line of it is asked for in each step.
template <int lanes, int columns, int rows>
static void tile(const float *left, long row, const float *right, long next, long depth, float *to, long to_row,
                 const float *soon) {
    typedef typename Vector<lanes>::type vector;
    vector sum[rows][columns] = {};
    for (long k = 0; k < depth; ++k, right += next, soon += 16) {
        __builtin_prefetch(soon, 0, 2);
        vector own[columns];
#pragma GCC unroll 4
        for (int c = 0; c < columns; ++c) own[c] = *reinterpret_cast<const vector *>(right + c * lanes);
#pragma GCC unroll 16
        for (int r = 0; r < rows; ++r) {
            const float factor = left[r * row + k];
#pragma GCC unroll 4
            for (int c = 0; c < columns; ++c) sum[r][c] += factor * own[c];
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
        for (int c = 0; c < columns; ++c) *reinterpret_cast<vector *>(to + r * to_row + c * lanes) = sum[r][c];
}

typedef void (*Tile)(const float *, long, const float *, long, long, float *, long, const float *);

template <int lanes, int columns>
struct Tiles {
    Tile of[TILE_ROWS + 1];
    constexpr Tiles() : of{} { fill<TILE_ROWS>(); }

private:
    template <int rows>
    constexpr void fill() {
        of[rows] = tile<lanes, columns, rows>;
        if constexpr (rows > 1) fill<rows - 1>();
    }
};

constexpr Tiles<LANES, 2> WIDE;
constexpr Tiles<LANES, 1> NARROW;
constexpr Tiles<LANES / 2, 1> HALF;

// Height of the next tile of `rows` rows that are left, so that all are about equally high: a last one of two rows
// would cost as much as one of four.
inline int tile_rows(long rows) {
    long count = (rows + TILE_ROWS - 1) / TILE_ROWS;
    return count ? int((rows + count - 1) / count) : 1;
}

// One whole panel; `soon` as in a tile, where something else than this panel comes next.
inline void times_panel(const float *left, long row, long rows, const float *panel, long depth, float *to, long to_row,
                        const float *soon = nullptr) {
    for (long r = 0, own; r < rows; r += own) {
        own = tile_rows(rows - r);
        WIDE.of[own](left + r * row, row, panel, PANEL, depth, to + r * to_row, to_row, soon ? soon : panel);
        if (soon) soon += 16 * depth;
    }
}

// Columns that are no whole panel: as many vectors as fit, the rest one by one. Nothing else is read or written.
inline void times_columns(const float *left, long row, long rows, const float *right, long next, long columns, long depth,
                          float *to, long to_row) {
    for (long r = 0, own; r < rows; r += own) {
        own = tile_rows(rows - r);
        const float *factors = left + r * row;
        float *results = to + r * to_row;
        long c = 0;
        for (; c + PANEL <= columns; c += PANEL) WIDE.of[own](factors, row, right + c, next, depth, results + c, to_row, right);
        for (; c + LANES <= columns; c += LANES) NARROW.of[own](factors, row, right + c, next, depth, results + c, to_row, right);
        for (; c + LANES / 2 <= columns; c += LANES / 2)
            HALF.of[own](factors, row, right + c, next, depth, results + c, to_row, right);
        for (; c < columns; ++c)
            for (long i = 0; i < own; ++i) {
                float sum = 0;
                for (long k = 0; k < depth; ++k) sum += factors[i * row + k] * right[k * next + c];
                results[i * to_row + c] = sum;
            }
    }
}

// Rows times packed panels; `finish(first row, rows, first column, columns, tile, its row)` takes each tile of results.
template <class Finish>
inline void times_panels(const float *left, long row, long rows, const float *panels, long depth, long outputs,
                         Finish finish) {
    alignas(64) float found[TILE_ROWS * PANEL];
    for (long first = 0; first < outputs; first += PANEL, panels += depth * PANEL) {
        const long columns = outputs - first < PANEL ? outputs - first : PANEL;
        for (long r = 0, own; r < rows; r += own) {
            own = tile_rows(rows - r);
            WIDE.of[own](left + r * row, row, panels, PANEL, depth, found, PANEL, panels);
            finish(r, own, first, columns, static_cast<const float *>(found));
        }
    }
}

}  // namespace chaperonin
