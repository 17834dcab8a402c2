// What Python calls: every function takes plain pointers and sizes, and returns 0, or 1 where memory is missing.
#include "alphafold.h"
#include "bytes.h"
#include "cores.h"

using namespace chaperonin;

extern "C" {

long chaperonin_panel() { return PANEL; }

long chaperonin_lanes() { return LANES; }

long chaperonin_multiplies_bytes() { return MULTIPLIES_BYTES; }

// All functions share `rows` between cores, each of which takes the next ones, `step` at a time.

// A weight [outputs, inputs], as PyTorch keeps it, to panels; the rows are the panels.
int chaperonin_pack(long cores, long rows, long step, const float *weight, long outputs, long inputs, float *panels) {
    return on_cores(cores, [&](long *next) {
        Share{rows, step, next}.each([&](long first, long count) {
            for (long p = first; p < first + count; ++p) pack(weight, p, outputs, inputs, panels);
        });
    });
}

// Streams [tokens, heads, head_dim]; the rows are the heads.
int chaperonin_attention(long cores, long rows, long step, const float *query, const float *key, const float *value,
                         float *to, long head_dim, const int *offsets, long segments, long longest, float scale) {
    return on_cores(cores, [&](long *next) {
        AttentionRoom room(longest, head_dim);
        const long row = rows * head_dim;
        const auto one_head = [&](long h, long s) {
            const long start = offsets[s] * row + h * head_dim, length = offsets[s + 1] - offsets[s];
            const Head head = {query + start, key + start, value + start, row, length, head_dim, scale, nullptr, nullptr};
            attend(head, room, [&](long place, const float *found, float factor) {
                float *own = to + start + place * row;
#pragma omp simd
                for (long c = 0; c < head_dim; ++c) own[c] = found[c] * factor;
            });
        };
        Share{rows, step, next}.each([&](long first, long count) {
            for (long s = 0; s < segments; ++s)
                for (long h = first; h < first + count; ++h) one_head(h, s);
        });
    });
}

int chaperonin_round_rows(long cores, long rows, long step, const float *x, long inputs, uint8_t *levels, long row,
                          float *scales, float *lows) {
    const Levels to = {levels, row, scales, lows};
    return on_cores(cores, [&](long *next) {
        Share{rows, step, next}.each([&](long first, long count) {
            for (long r = first; r < first + count; ++r) round_row(x + r * inputs, inputs, r, to);
        });
    });
}

// The rows that cores share are the panels of the result.
int chaperonin_times_bytes(long cores, long panels, long step, uint8_t *levels, long row, float *scales, float *lows,
                           long rows, const int8_t *weight, long inputs, const float *weight_scales,
                           const int32_t *sums, const float *bias, const float *residual, long activation,
                           long outputs, float *to) {
    return on_cores(cores, [&](long *next) {
        const Levels left = {levels, row, scales, lows};
        const Scaling own = {weight_scales, sums, bias, residual, activation, outputs, to};
        Buffer room((own.gated() ? 4 : 2) * step * row * BYTE_PANEL / long(sizeof(float)));
        int8_t *bytes = reinterpret_cast<int8_t *>(static_cast<float *>(room));
        Share{panels, step, next}.each([&](long first, long count) {
            times_bytes(left, rows, weight, inputs, first * BYTE_PANEL, count, bytes, own);
        });
    });
}

int chaperonin_transition(long cores, long rows, long step, float *x, long width, long hidden, const float *norm,
                          const float *norm_bias, float epsilon, const float *up, const float *up_bias,
                          const float *down, const float *down_bias) {
    return on_cores(cores, [&](long *next) {
        transition(x, {rows, step, next}, {{norm, norm_bias, epsilon}, up, up_bias, down, down_bias, width, hidden});
    });
}

int chaperonin_gated_attention(long cores, long rows, long step, float *x, long row, long place, long length,
                               const float *mask, long mask_row, long mask_place, const float *bias, const float *norm,
                               const float *norm_bias, float epsilon, const float *project, const float *gate_bias,
                               const float *out, const float *out_bias, long heads, long head_dim) {
    return on_cores(cores, [&](long *next) {
        gated_attention({x, row, place}, {rows, step, next}, length, mask, mask_row, mask_place, bias,
                        {{norm, norm_bias, epsilon}, project, gate_bias, out, out_bias, heads, head_dim});
    });
}

int chaperonin_pair_scores(long cores, long rows, long step, float *x, long row, long place, long length, long width,
                           const float *norm, const float *norm_bias, float epsilon, const float *weight, long heads,
                           float *to, long to_head) {
    return on_cores(cores, [&](long *next) {
        pair_scores({x, row, place}, {rows, step, next}, length, width, {norm, norm_bias, epsilon}, weight, heads, to,
                    to_head);
    });
}

// Which half of a triangle multiplication: 0 makes the planes, 1 reads them and updates the edges.
int chaperonin_triangle(long cores, long rows, long step, int half, float *x, long row, long place, long length,
                        const float *mask, long mask_row, long mask_place, const float *norm, const float *norm_bias,
                        float epsilon, const float *product_norm, const float *product_norm_bias, const float *project,
                        const float *project_bias, const float *gate, const float *gate_bias, const float *out,
                        const float *out_bias, const float *out_gate, const float *out_gate_bias, long width,
                        long channels, float *planes) {
    const Triangle own = {{norm, norm_bias, epsilon},
                          {product_norm, product_norm_bias, epsilon},
                          project,
                          project_bias,
                          gate,
                          gate_bias,
                          out,
                          out_bias,
                          out_gate,
                          out_gate_bias,
                          width,
                          channels};
    const Places edges = {x, row, place};
    return on_cores(cores, [&](long *next) {
        const Share share = {rows, step, next};
        if (half == 0) {
            triangle_planes(edges, share, length, mask, mask_row, mask_place, own, planes);
            return;
        }
        TriangleRoom room(step, length, own);
        share.each([&](long first, long count) {
            triangle_rows(edges, first, count, length, mask, mask_row, mask_place, own, planes, room);
        });
    });
}

int chaperonin_outer_product_mean(long cores, long rows, long step, float *pair, const float *left, const float *right,
                                  const float *counts, const float *out, const float *out_bias, long sequences,
                                  long channels, long width) {
    return on_cores(cores, [&](long *next) {
        outer_product_mean(pair, {rows, step, next}, rows, left, right, counts, out, out_bias, sequences, channels,
                           width);
    });
}

int chaperonin_outer_product_mean_of_few(long cores, long rows, long step, float *pair, const float *left,
                                         const float *right, const float *counts, const float *weight,
                                         const float *out_bias, long sequences, long channels, long width) {
    return on_cores(cores, [&](long *next) {
        outer_product_mean_of_few(pair, {rows, step, next}, rows, left, right, counts, weight, out_bias, sequences,
                                  channels, width);
    });
}

}  // extern "C"
