// Vectors of floats in the widest form the machine has, activations, and sums that do not depend on chance.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#if defined(__AVX512F__)
#include <immintrin.h>
constexpr int LANES = 16;
constexpr int TILE_ROWS = 12;  // 12 × 2 accumulators of 32 registers
#elif defined(__AVX__)
constexpr int LANES = 8;
constexpr int TILE_ROWS = 6;  // 6 × 2 of 16 registers
#else
constexpr int LANES = 4;
constexpr int TILE_ROWS = 8;
#endif

typedef float Vec __attribute__((vector_size(4 * LANES)));

inline Vec splat(float value) { return Vec{} + value; }

inline Vec load(const float* from) {
    Vec v;
    std::memcpy(&v, from, sizeof v);
    return v;
}

inline void store(float* to, Vec v) { std::memcpy(to, &v, sizeof v); }

// The first `count` lanes; the others are zero and their memory is not touched.
inline Vec load(const float* from, int count) {
    if (count >= LANES) return load(from);
#if defined(__AVX512F__)
    return (Vec)_mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), from);
#else
    Vec v{};
    std::memcpy(&v, from, 4 * count);
    return v;
#endif
}

inline void store(float* to, Vec v, int count) {
    if (count >= LANES) return store(to, v);
#if defined(__AVX512F__)
    _mm512_mask_storeu_ps(to, (__mmask16)((1u << count) - 1), (__m512)v);
#else
    std::memcpy(to, &v, 4 * count);
#endif
}

inline Vec lower(Vec a, Vec b) { return a < b ? a : b; }
inline Vec upper(Vec a, Vec b) { return a > b ? a : b; }

enum Activation { IDENTITY, RELU, RELU6, H_SWISH, SWISH };

// e^x to 2 units in the last place: 2^n · e^r with |r| <= ln 2 / 2, the latter by its series.
inline Vec exponential(Vec x) {
    typedef int32_t Bits __attribute__((vector_size(4 * LANES)));
    x = lower(upper(x, splat(-87.f)), splat(88.f));
    const Vec shifted = x * 1.44269504f + 12582912.f;  // rounds to the nearest integer, kept in the low bits
    const Vec n = shifted - 12582912.f;
    const Vec r = x - n * 0.693359375f + n * 2.12194440e-4f;
    Vec series = splat(1.f / 5040);
    for (float factor : {1.f / 720, 1.f / 120, 1.f / 24, 1.f / 6, 1.f / 2, 1.f, 1.f}) series = series * r + factor;
    return series * (Vec)(((Bits)shifted + 127) << 23);
}

inline Vec sigmoid(Vec z) { return 1.f / (1.f + exponential(-z)); }

template <int A>
inline Vec activate(Vec z) {
    if constexpr (A == RELU) return z < 0.f ? Vec{} : z;  // a NaN stays one, so that a diverged run is seen
    if constexpr (A == RELU6) return z < 0.f ? Vec{} : (z > 6.f ? splat(6.f) : z);
    if constexpr (A == H_SWISH) return z * lower(upper(z + 3.f, Vec{}), splat(6.f)) * (1.f / 6);
    if constexpr (A == SWISH) return z * sigmoid(z);
    return z;
}

template <int A>
inline Vec derivative(Vec z) {
    if constexpr (A == RELU) return z > 0.f ? splat(1.f) : Vec{};
    if constexpr (A == RELU6) return z > 0.f ? (z < 6.f ? splat(1.f) : Vec{}) : Vec{};
    if constexpr (A == H_SWISH) return z < -3.f ? Vec{} : (z > 3.f ? splat(1.f) : z * (1.f / 3) + 0.5f);
    if constexpr (A == SWISH) {
        const Vec s = sigmoid(z);
        return s * (1.f + z * (1.f - s));
    }
    return splat(1.f);
}

// Calls `pass` with the activation as a compile-time constant.
template <typename Pass>
void with_activation(int activation, Pass&& pass) {
    switch (activation) {
        case RELU: return pass(std::integral_constant<int, RELU>{});
        case RELU6: return pass(std::integral_constant<int, RELU6>{});
        case H_SWISH: return pass(std::integral_constant<int, H_SWISH>{});
        case SWISH: return pass(std::integral_constant<int, SWISH>{});
        default: return pass(std::integral_constant<int, IDENTITY>{});
    }
}

// The same for two.
template <typename Pass>
void with_activations(int first, int second, Pass&& pass) {
    with_activation(first, [&](auto a) { with_activation(second, [&](auto b) { pass(a, b); }); });
}

// What is applied to an operand as it is read; without scale nothing is.
struct Prologue {
    const float* scale;
    const float* shift;

    explicit operator bool() const { return scale != nullptr; }
    Vec linear(Vec x, int64_t channel, int count) const {
        return x * load(scale + channel, count) + load(shift + channel, count);
    }
};

// The gradient of a convolution's output: direct + m0 + 2 · m1 · y.
class OutputGradient {
   public:
    // moments [2, channels]: added in single precision.
    OutputGradient(const float* direct, const float* y, const double* moments, int64_t channels)
        : direct_(direct), y_(y), moments_(moments, moments + 2 * channels), channels_(channels) {}

    Vec at(int64_t offset, int64_t channel, int count) const {
        const Vec m0 = load(&moments_[channel], count), m1 = load(&moments_[channels_ + channel], count);
        return load(direct_ + offset, count) + m0 + 2.f * m1 * load(y_ + offset, count);
    }

    // Asks for the memory at an offset before it is needed.
    void ahead(int64_t offset) const {
        __builtin_prefetch(direct_ + offset);
        __builtin_prefetch(y_ + offset);
    }

   private:
    const float* direct_;
    const float* y_;
    std::vector<float> moments_;
    int64_t channels_;
};

// Two sums per channel, in double, gathered by each thread for itself and added up in the threads' order: the same
// number of threads gives the same result to the last bit.
class ChannelSums {
   public:
    ChannelSums(int threads, int64_t channels) : channels_(channels), sums_(threads * 2 * channels) {}

    void add(int64_t channel, Vec first, Vec second, int count) {
        double* sums = sums_.data() + omp_get_thread_num() * 2 * channels_;
        for (int lane = 0; lane < count; ++lane) {
            sums[channel + lane] += first[lane];
            sums[channels_ + channel + lane] += second[lane];
        }
    }

    // Sum and sum of squares of `values` values per lane, given those of their distances to `pivot`: with a pivot among
    // the values, single precision loses nothing to a mean that is far larger than the deviation.
    void add_moments(int64_t channel, Vec pivot, int64_t values, Vec distance, Vec square, int count) {
        double* sums = sums_.data() + omp_get_thread_num() * 2 * channels_;
        for (int lane = 0; lane < count; ++lane) {
            const double p = pivot[lane], d = distance[lane];
            sums[channel + lane] += d + values * p;
            sums[channels_ + channel + lane] += square[lane] + 2 * p * d + values * p * p;
        }
    }

    // Into `total` [2, channels] of double or float.
    template <typename Number>
    void total(Number* total) const {
        for (int64_t i = 0; i < 2 * channels_; ++i) {
            double sum = 0;
            for (size_t part = i; part < sums_.size(); part += 2 * channels_) sum += sums_[part];
            total[i] = static_cast<Number>(sum);
        }
    }

   private:
    int64_t channels_;
    std::vector<double> sums_;
};

// Scratch memory, on a cache line. What is in it at first is anything.
class Scratch {
   public:
    explicit Scratch(int64_t floats) : floats_(floats), memory_(new float[floats + 16]) {}
    float* data() {
        const auto address = reinterpret_cast<uintptr_t>(memory_.get());
        return reinterpret_cast<float*>((address + 63) / 64 * 64);
    }
    void clear() { std::fill_n(data(), floats_, 0.f); }

   private:
    int64_t floats_;
    std::unique_ptr<float[]> memory_;
};
