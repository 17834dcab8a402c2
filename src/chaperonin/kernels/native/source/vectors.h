// Vectors as wide as this processor's, written once for all of them with the compiler's own vector types.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

namespace chaperonin {

// Numbers in a vector, and rows of a tile of products: as many sums as the registers hold beside a row of factors.
#if defined(__AVX512F__)
constexpr int LANES = 16, TILE_ROWS = 14;
#elif defined(__AVX__)
constexpr int LANES = 8, TILE_ROWS = 6;
#elif defined(__aarch64__)
constexpr int LANES = 4, TILE_ROWS = 12;
#else
constexpr int LANES = 4, TILE_ROWS = 6;
#endif
// Columns of a tile, and so of a panel of factors.
constexpr int PANEL = 2 * LANES;

template <int lanes>
struct Vector {
    typedef float type __attribute__((vector_size(4 * lanes), aligned(4), may_alias));
};

inline long round_up(long count, long step) { return (count + step - 1) / step * step; }

// Room for rows of so many numbers, whole vectors of them. Rows of a power of two lie on each other in a cache, which
// has no more than eight places for all of them: those get a line in between.
inline long apart(long count) {
    count = round_up(count, 16);
    return count % 512 == 0 ? count + 16 : count;
}

// Rows that several cores share: each takes the next ones, `step` at a time, until none is left.
struct Share {
    long rows, step, *next;
    template <class Work>
    void each(Work work) const {
        for (;;) {
            const long first = __atomic_fetch_add(next, step, __ATOMIC_RELAXED);
            if (first >= rows) return;
            work(first, rows - first < step ? rows - first : step);
        }
    }
};

// body(c) for each c below `count`, which is mostly `whole`: then the loop is vectors and nothing else.
template <int whole, class Body>
inline void each_of(long count, Body body) {
    if (count == whole) {
#pragma omp simd
        for (int c = 0; c < whole; ++c) body(c);
    } else {
        for (long c = 0; c < count; ++c) body(c);
    }
}

// Ask for memory that will be read soon.
inline void fetch(const float *from, long count) {
    for (long i = 0; i < count; i += 16) __builtin_prefetch(from + i, 0, 2);
}

// Memory that begins at a cache line and is not filled.
class Buffer {
public:
    explicit Buffer(long floats) {
        long bytes = round_up(floats * long(sizeof(float)) + 64, 64);
        data_.reset(static_cast<float *>(std::aligned_alloc(64, bytes)));
        if (!data_) throw std::bad_alloc();
    }
    operator float *() const { return data_.get(); }

private:
    struct Free {
        void operator()(float *data) const { std::free(data); }
    };
    std::unique_ptr<float, Free> data_;
};

// e^x to two units in the last place; x at most 88. Without branches, so that loops over it become vectors.
inline float exponential(float x) {
    x = x < -87.0f ? -87.0f : x;
    const float shifter = 12582912.0f;  // 1.5 · 2^23: adding it rounds to a whole number, kept in the low bits
    float shifted = x * 1.44269504f + shifter;
    float whole = shifted - shifter;
    float rest = x - whole * 0.693145752f;
    rest -= whole * 1.42860677e-6f;
    float power = 1.98756915e-4f;
    power = power * rest + 1.39819995e-3f;
    power = power * rest + 8.33345205e-3f;
    power = power * rest + 4.16657962e-2f;
    power = power * rest + 1.66666657e-1f;
    power = power * rest + 5.0e-1f;
    power = power * rest * rest + rest + 1.0f;
    int32_t bits, exponent;
    std::memcpy(&bits, &power, 4);
    std::memcpy(&exponent, &shifted, 4);
    bits += int32_t(uint32_t(exponent) << 23);
    std::memcpy(&power, &bits, 4);
    return x == x ? power : x;  // a NaN stays one
}

inline float sigmoid(float x) {
    return 1.0f / (1.0f + exponential(x < -80.0f ? 80.0f : -x));
}

}  // namespace chaperonin
