// The Evoformer's updates, row by row and in place (Jumper et al. 2021, supplement, algorithms 7 to 15).
#pragma once

#include "attention.h"

namespace chaperonin {

struct Transition {
    Norm norm;
    const float *up, *up_bias, *down, *down_bias;  // panels and biases
    long width, hidden;
};

inline void transition(float *x, const Share &share, const Transition &own) {
    const long inner_row = apart(own.hidden);
    Buffer normal(share.step * own.width), inner(share.step * inner_row);
    share.each([&](long start, long count) {
        float *here = x + start * own.width;
        for (long r = 0; r < count; ++r)
            normalise(here + r * own.width, own.width, own.norm, normal + r * own.width);
        times_panels(normal, own.width, count, own.up, own.width, own.hidden,
                     [&](long r, long tall, long first, long columns, const float *found) {
                         for (long i = 0; i < tall; ++i) {
                             float *to = inner + (r + i) * inner_row + first;
                             each_of<PANEL>(columns, [&](long c) {
                                 const float sum = found[i * PANEL + c] + own.up_bias[first + c];
                                 to[c] = sum < 0 ? 0 : sum;  // a NaN stays one
                             });
                         }
                     });
        times_panels(inner, inner_row, count, own.down, own.hidden, own.width,
                     [&](long r, long tall, long first, long columns, const float *found) {
                         for (long i = 0; i < tall; ++i) {
                             float *to = here + (r + i) * own.width + first;
                             each_of<PANEL>(columns, [&](long c) { to[c] += found[i * PANEL + c] + own.down_bias[first + c]; });
                         }
                     });
    });
}

// [rows, length, width] with any distance between rows and between places.
struct Places {
    float *x;
    long row, place;
    float *at(long r, long p) const { return x + r * row + p * place; }
};

// Layer norm of one place, while those that come next are on their way: they may lie far apart.
inline void normalise(const Places &x, long r, long p, long width, const Norm &norm, float *to) {
    constexpr long ahead = 4;
    fetch(x.at(r, p + ahead), width);
    normalise(x.at(r, p), width, norm, to);
}

struct GatedAttention {
    Norm norm;
    const float *project, *gate_bias, *out, *out_bias;  // panels and biases
    long heads, head_dim;
};

// Which keys are missing, as numbers to add. False where none is real: then all keys count alike.
inline bool missing_keys(const float *mask, long step, long length, float *missing, bool &any) {
    bool real = false;
    any = false;
    for (long p = 0; p < length; ++p) {
        const bool here = mask[p * step] != 0;
        missing[p] = here ? 0.0f : NOT_A_KEY;
        real |= here;
        any |= !here;
    }
    return real;
}

inline void gated_attention(const Places &x, const Share &share, long length, const float *mask, long mask_row,
                            long mask_place, const float *bias, const GatedAttention &own) {
    const long width = own.heads * own.head_dim, wide = apart(round_up(4 * width, PANEL));
    Buffer normal(length * width), projected(length * wide), missing(length);
    AttentionRoom room(length, own.head_dim);
    const auto one_row = [&](long r) {
        for (long p = 0; p < length; ++p) normalise(x, r, p, width, own.norm, normal + p * width);
        for (long first = 0; first < round_up(4 * width, PANEL); first += PANEL)
            times_panel(normal, width, length, own.project + first * width, width, projected + first, wide);
        bool any;
        const bool real = missing_keys(mask + r * mask_row, mask_place, length, missing, any);
        float *attended = normal;
        for (long h = 0; h < own.heads; ++h) {
            const float *query = projected + h * own.head_dim, *gate_bias = own.gate_bias + h * own.head_dim;
            const float scale = real ? 1.0f / __builtin_sqrtf(float(own.head_dim)) : 0.0f;
            const Head head = {query, query + width, query + 2 * width, wide, length, own.head_dim, scale,
                               bias && real ? bias + h * length * length : nullptr, any && real ? +missing : nullptr};
            attend(head, room, [&](long p, const float *found, float factor) {
                const float *gate = query + 3 * width + p * wide;
                float *to = attended + p * width + h * own.head_dim;
#pragma omp simd
                for (long c = 0; c < own.head_dim; ++c) to[c] = found[c] * factor * sigmoid(gate[c] + gate_bias[c]);
            });
        }
        times_panels(attended, width, length, own.out, width, width,
                     [&](long p, long tall, long first, long columns, const float *found) {
                         for (long i = 0; i < tall; ++i) {
                             float *to = x.at(r, p + i) + first;
                             each_of<PANEL>(columns, [&](long c) { to[c] += found[i * PANEL + c] + own.out_bias[first + c]; });
                         }
                     });
    };
    share.each([&](long first, long count) {
        for (long r = first; r < first + count; ++r) one_row(r);
    });
}

// The normalised places of one row as panels [panel][width][PANEL].
inline void turned_row(const Places &x, long r, long length, long width, const Norm &norm, float *normal, float *panels) {
    for (long first = 0; first < length; first += PANEL, panels += width * PANEL) {
        const long own = length - first < PANEL ? length - first : PANEL;
        for (long p = 0; p < own; ++p) normalise(x, r, first + p, width, norm, normal + p * width);
        turn(normal, width, own, width, panels);
    }
}

// What pairs add to the scores of each head: to[h][r][p], `to_head` numbers from head to head.
inline void pair_scores(const Places &x, const Share &share, long length, long width, const Norm &norm,
                        const float *weight, long heads, float *to, long to_head) {
    Buffer normal(PANEL * width), panels(round_up(length, PANEL) * width);
    alignas(64) float found[TILE_ROWS * PANEL];
    const auto one_row = [&](long r) {
        turned_row(x, r, length, width, norm, normal, panels);
        for (long first = 0; first < length; first += PANEL) {
            const long own = length - first < PANEL ? length - first : PANEL;
            for (long h = 0, tall; h < heads; h += tall) {
                tall = tile_rows(heads - h);
                times_panel(weight + h * width, width, tall, panels + first * width, width, found, PANEL);
                for (long i = 0; i < tall; ++i)
                    std::memcpy(to + (h + i) * to_head + r * length + first, found + i * PANEL, 4 * own);
            }
        }
    };
    share.each([&](long first, long count) {
        for (long r = first; r < first + count; ++r) one_row(r);
    });
}

struct Triangle {
    Norm norm, product_norm;
    const float *project, *project_bias, *gate, *gate_bias;  // weights as they are: left half, then right
    const float *out, *out_bias, *out_gate, *out_gate_bias;  // panels and biases
    long width, channels;
};

// Gated projections of one row for one half: `put(channel, first place, PANEL numbers)`; 0 past the last place.
template <class Put>
inline void half_of_row(const float *panels, const float *mask, long mask_place, long length, const Triangle &own,
                        bool right, Put put) {
    const long offset = right ? own.channels : 0;
    const float *project = own.project + offset * own.width, *gate = own.gate + offset * own.width;
    alignas(64) float products[TILE_ROWS * PANEL], gates[TILE_ROWS * PANEL], open[PANEL];
    for (long first = 0; first < length; first += PANEL, panels += own.width * PANEL) {
        for (long p = 0; p < PANEL; ++p) open[p] = first + p < length ? mask[(first + p) * mask_place] : 0.0f;
        for (long c = 0, tall; c < own.channels; c += tall) {
            tall = tile_rows(own.channels - c);
            times_panel(project + c * own.width, own.width, tall, panels, own.width, products, PANEL);
            times_panel(gate + c * own.width, own.width, tall, panels, own.width, gates, PANEL);
            for (long i = 0; i < tall; ++i) {
                const float bias = own.project_bias[offset + c + i], gate_bias = own.gate_bias[offset + c + i];
                float *to = products + i * PANEL;
                const float *gated = gates + i * PANEL;
#pragma omp simd
                for (long p = 0; p < PANEL; ++p) to[p] = (to[p] + bias) * sigmoid(gated[p] + gate_bias) * open[p];
                put(c + i, first, to);
            }
        }
    }
}

// The right half of all projections as panels over the first index: planes[channel][panel of j][k][PANEL j].
// `x` are the transposed edges: its row k holds the edges (j, k) of all j.
inline void triangle_planes(const Places &x, const Share &share, long length, const float *mask, long mask_row,
                            long mask_place, const Triangle &own, float *planes) {
    Buffer normal(PANEL * own.width), panels(round_up(length, PANEL) * own.width);
    const long plane = round_up(length, PANEL) * length;
    share.each([&](long first_row, long rows) {
        for (long k = first_row; k < first_row + rows; ++k) {
            turned_row(x, k, length, own.width, own.norm, normal, panels);
            half_of_row(panels, mask + k * mask_row, mask_place, length, own, true,
                        [&](long channel, long first, const float *found) {
                            std::memcpy(planes + channel * plane + first * length + k * PANEL, found, 4 * PANEL);
                        });
        }
    });
}

// What a core holds while it updates some rows of edges.
struct TriangleRoom {
    Buffer normal, panels, left, products, places, update;
    TriangleRoom(long rows, long length, const Triangle &own)
        : normal(PANEL * own.width),
          panels(round_up(length, PANEL) * own.width),
          left(own.channels * rows * apart(round_up(length, PANEL))),
          products(own.channels * rows * PANEL),
          places(PANEL * own.channels),
          update(PANEL * own.width) {}
};

// Some rows of edges with their update, which reads the planes and these rows alone.
inline void triangle_rows(const Places &x, long first_row, long rows, long length, const float *mask, long mask_row,
                          long mask_place, const Triangle &own, const float *planes, TriangleRoom &room) {
    const long width = own.width, channels = own.channels, padded = round_up(length, PANEL), row = apart(padded);
    float *normal = room.normal, *panels = room.panels, *left = room.left, *products = room.products,
          *places = room.places, *update = room.update;
    for (long i = 0; i < rows; ++i) {
        turned_row(x, first_row + i, length, width, own.norm, normal, panels);
        half_of_row(panels, mask + (first_row + i) * mask_row, mask_place, length, own, false,
                    [&](long channel, long first, const float *found) {
                        std::memcpy(left + (channel * rows + i) * row + first, found, 4 * PANEL);
                    });
    }
    for (long first = 0; first < length; first += PANEL) {
        const long count = length - first < PANEL ? length - first : PANEL;
        for (long c = 0; c < channels; ++c) {  // the next channel's plane comes while this one is read
            const float *plane = planes + (c * padded + first) * length;
            times_panel(left + c * rows * row, row, rows, plane, length, products + c * rows * PANEL, PANEL,
                        plane + padded * length);
        }
        for (long i = 0; i < rows; ++i) {
            transpose(products + i * PANEL, rows * PANEL, channels, count, places, channels);
            for (long p = 0; p < count; ++p) {
                normalise(places + p * channels, channels, own.product_norm, places + p * channels);
                normalise(x, first_row + i, first + p, width, own.norm, normal + p * width);
            }
            times_panels(places, channels, count, own.out, channels, width,
                         [&](long p, long tall, long column, long columns, const float *found) {
                             for (long t = 0; t < tall; ++t) {
                                 float *to = update + (p + t) * width + column;
                                 each_of<PANEL>(columns, [&](long c) { to[c] = found[t * PANEL + c] + own.out_bias[column + c]; });
                             }
                         });
            times_panels(normal, width, count, own.out_gate, width, width,
                         [&](long p, long tall, long column, long columns, const float *found) {
                             for (long t = 0; t < tall; ++t) {
                                 float *to = x.at(first_row + i, first + p + t) + column;
                                 const float *found_update = update + (p + t) * width + column;
                                 each_of<PANEL>(columns, [&](long c) {
                                     to[c] += found_update[c] * sigmoid(found[t * PANEL + c] + own.out_gate_bias[column + c]);
                                 });
                             }
                         });
        }
    }
}

// Pairs whose outer products are held at once.
constexpr long OUTER_PAIRS = 3 * TILE_ROWS;

// left [length][channels][sequences], right [length][sequences][channels]: sums over sequences, projected, divided.
inline void outer_product_mean(float *pair, const Share &share, long length, const float *left, const float *right,
                               const float *counts, const float *out, const float *out_bias,
                               long sequences, long channels, long width) {
    const long squared = channels * channels, row = apart(squared);
    Buffer outer(OUTER_PAIRS * row);
    const auto one_row = [&](long i) {
        for (long first = 0; first < length; first += OUTER_PAIRS) {
            const long count = length - first < OUTER_PAIRS ? length - first : OUTER_PAIRS;
            for (long j = 0; j < count; ++j)
                times_columns(left + i * channels * sequences, sequences, channels,
                              right + (first + j) * sequences * channels, channels, channels, sequences,
                              outer + j * row, channels);
            times_panels(outer, row, count, out, squared, width,
                         [&](long p, long tall, long column, long columns, const float *found) {
                             for (long t = 0; t < tall; ++t) {
                                 const float share = 1.0f / counts[i * length + first + p + t];
                                 float *to = pair + (i * length + first + p + t) * width + column;
                                 each_of<PANEL>(columns, [&](long c) {
                                     to[c] += (found[t * PANEL + c] + out_bias[column + c]) * share;
                                 });
                             }
                         });
        }
    };
    share.each([&](long first, long count) {
        for (long i = first; i < first + count; ++i) one_row(i);
    });
}

// The same for few sequences: one side is projected first, weight [d][c][width], and the sums over sequences and
// channels are the product. left [length][sequences][channels], right as above; the rows that cores share are the j.
inline void outer_product_mean_of_few(float *pair, const Share &share, long length, const float *left,
                                      const float *right, const float *counts, const float *weight,
                                      const float *out_bias, long sequences, long channels, long width) {
    const long depth = sequences * channels, padded = round_up(width, PANEL);
    Buffer projected(share.step * depth * padded), found(TILE_ROWS * PANEL);
    const auto project = [&](long first, long count) {
        for (long s = 0; s < sequences; ++s)
            for (long c = 0; c < channels; ++c)
                for (long f = 0; f < width; f += PANEL) {
                    const long columns = width - f < PANEL ? width - f : PANEL;
                    float *to = projected + f * depth + (s * channels + c) * PANEL;
                    times_columns(right + (first * sequences + s) * channels, depth, count, weight + c * width + f,
                                  channels * width, columns, channels, to, depth * padded);
                }
    };
    const auto add = [&](long i, long tall, long j, long f, const float *panel) {
        const long columns = width - f < PANEL ? width - f : PANEL;
        times_panel(left + i * depth, depth, tall, panel, depth, found, PANEL);
        for (long t = 0; t < tall; ++t) {
            const float share_of = 1.0f / counts[(i + t) * length + j], *own = found + t * PANEL;
            float *to = pair + ((i + t) * length + j) * width + f;
            each_of<PANEL>(columns, [&](long c) { to[c] += (own[c] + out_bias[f + c]) * share_of; });
        }
    };
    share.each([&](long first, long count) {
        project(first, count);
        for (long i = 0, tall; i < length; i += tall) {
            tall = tile_rows(length - i);
            for (long t = 0; t < tall; ++t)  // a tile of pairs comes from as many places in memory
                fetch(pair + ((i + tall + t) * length + first) * width, count * width);
            for (long j = 0; j < count; ++j)
                for (long f = 0; f < width; f += PANEL)
                    add(i, tall, first + j, f, projected + (j * padded + f) * depth);
        }
    });
}

}  // namespace chaperonin
