// Softmax attention of one head over rows that lie apart by any stride.
#pragma once

#include "product.h"

namespace chaperonin {

constexpr float NOT_A_KEY = -1e8f;

// What one head of one row reads: [length, head_dim] each, `row` numbers from one place to the next.
struct Head {
    const float *query, *key, *value;
    long row, length, head_dim;
    float scale;
    const float *bias;     // [length, length], or none
    const float *missing;  // [length]: added to the scores of every query, or none
};

// Room for one head at a time.
struct AttentionRoom {
    Buffer keys, values, scores;
    long padded;
    AttentionRoom(long longest, long head_dim)
        : keys(round_up(longest, PANEL) * head_dim),
          values(longest * round_up(head_dim, PANEL)),
          scores(TILE_ROWS * apart(round_up(longest, PANEL))),
          padded(apart(round_up(longest, PANEL))) {}
};

// Scores become weights, not yet divided by their sum, which is returned.
template <bool biased, bool masked>
inline float weigh(float *scores, long length, float scale, const float *bias, const float *missing) {
    float most = -3.0e38f, sum = 0;
#pragma omp simd reduction(max : most)
    for (long k = 0; k < length; ++k) {
        float score = scores[k] * scale;
        if constexpr (biased) score += bias[k];
        if constexpr (masked) score += missing[k];
        scores[k] = score;
        most = score > most ? score : most;
    }
    // Whole vectors: what is filled up weighs 1e-38, and no one else reads it.
    const long whole = round_up(length, LANES);
    for (long k = length; k < whole; ++k) scores[k] = -__builtin_inff();
#pragma omp simd reduction(+ : sum)
    for (long k = 0; k < whole; ++k) {
        scores[k] = exponential(scores[k] - most);
        sum += scores[k];
    }
    return sum;
}

// Columns of values, panel after panel: a key's own stand far apart in a stream of many heads.
inline void gather_values(const Head &head, float *panels) {
    for (long first = 0; first < head.head_dim; first += PANEL) {
        const long columns = head.head_dim - first < PANEL ? head.head_dim - first : PANEL;
        for (long k = 0; k < head.length; ++k, panels += PANEL) {
            const float *own = head.value + k * head.row + first;
            each_of<PANEL>(columns, [&](long c) { panels[c] = own[c]; });
        }
    }
}

// `finish(query, its head_dim numbers, what they are to be multiplied by)` takes each result.
template <class Finish>
inline void attend(const Head &head, AttentionRoom &room, Finish finish) {
    const long length = head.length, depth = head.head_dim;
    for (long first = 0; first < length; first += PANEL) {
        const long own = length - first < PANEL ? length - first : PANEL;
        turn(head.key + first * head.row, head.row, own, depth, room.keys + first * depth);
    }
    gather_values(head, room.values);
    Buffer found(TILE_ROWS * depth);
    for (long query = 0, own; query < length; query += own) {
        own = tile_rows(length - query);
        for (long first = 0; first < length; first += PANEL)
            times_panel(head.query + query * head.row, head.row, own, room.keys + first * depth, depth,
                        room.scores + first, room.padded);
        float sums[TILE_ROWS];
        for (long q = 0; q < own; ++q) {
            const float *bias = head.bias ? head.bias + (query + q) * length : nullptr;
            const auto own_weigh = bias ? (head.missing ? weigh<true, true> : weigh<true, false>)
                                        : (head.missing ? weigh<false, true> : weigh<false, false>);
            sums[q] = own_weigh(room.scores + q * room.padded, length, head.scale, bias, head.missing);
        }
        for (long c = 0; c < depth; c += PANEL)
            times_columns(room.scores, room.padded, own, room.values + c * length, PANEL,
                          depth - c < PANEL ? depth - c : PANEL, length, found + c, depth);
        for (long q = 0; q < own; ++q) finish(query + q, found + q * depth, 1.0f / sums[q]);
    }
}

}  // namespace chaperonin
