// Passes over activations that no convolution can take along: the end of a block, squeeze-and-excite, pooling.

#include "vector.h"

namespace {

constexpr int64_t AHEAD = 1024;  // floats, a page: how far memory is asked for before it is read or written

// Calls `pass(i, c, lanes)` for the vectors of one image's pixels, at i, in the order in which they lie in memory.
template <typename Pass>
inline void over_vectors(int64_t image, int64_t pixels, int64_t channels, Pass&& pass) {
    for (int64_t i = image * pixels * channels, end = i + pixels * channels; i < end; i += channels) {
        int64_t c = 0;
        for (; c + LANES <= channels; c += LANES) pass(i + c, c, LANES);
        if (c < channels) pass(i + c, c, static_cast<int>(channels - c));
    }
}

// Calls `pass(c, lanes)` for each vector of channels.
template <typename Pass>
inline void over_channels(int64_t channels, Pass&& pass) {
    for (int64_t c = 0; c < channels; c += LANES) pass(c, static_cast<int>(std::min<int64_t>(LANES, channels - c)));
}

}  // namespace

// x, shortcut, y [batch, pixels, channels]; gate [batch, channels]; gate and shortcut may be null. `last` is the
// activation of the sum.
extern "C" void apply(const float* x, const float* scale, const float* shift, int activation, const float* gate,
                      const float* shortcut, int last, float* y, int64_t batch, int64_t pixels, int64_t channels,
                      int threads) {
    const Prologue prologue{scale, shift};
    with_activations(activation, last, [&](auto a, auto b) {
#pragma omp parallel for schedule(static) num_threads(threads)
        for (int64_t n = 0; n < batch; ++n)
            over_vectors(n, pixels, channels, [&](int64_t i, int64_t c, int lanes) {
                __builtin_prefetch(x + i + AHEAD);
                __builtin_prefetch(y + i + AHEAD, 1);
                Vec value = activate<a>(prologue.linear(load(x + i, lanes), c, lanes));
                if (gate) value *= load(gate + n * channels + c, lanes);
                if (shortcut) value += load(shortcut + i, lanes);
                store(y + i, activate<b>(value), lanes);
            });
    });
}

// The gradient of the prologue's output is dsum · gate + pooled / pixels, where dsum is the output's gradient, through
// the sum's activation; each of output, gate, pooled and shortcut may be null. dsum is written where it is no null.
extern "C" void apply_backward(const float* output, const float* gate, const float* pooled, const float* x,
                               const float* scale, const float* shift, int activation, const float* shortcut, int last,
                               float* dx, float* dprologue, float* dsum, int64_t batch, int64_t pixels,
                               int64_t channels, int threads) {
    ChannelSums sums(threads, channels);
    const Prologue prologue{scale, shift};
    with_activations(activation, last, [&](auto a, auto b) {
#pragma omp parallel num_threads(threads)
        {
            Scratch gathered(2 * (channels + LANES));  // an image's sums
#pragma omp for schedule(static)
            for (int64_t n = 0; n < batch; ++n) {
                float *dscale = gathered.data(), *dshift = dscale + channels + LANES;
                gathered.clear();
                over_vectors(n, pixels, channels, [&](int64_t i, int64_t c, int lanes) {
                    __builtin_prefetch(x + i + AHEAD);
                    __builtin_prefetch(dx + i + AHEAD, 1);
                    if (output) __builtin_prefetch(output + i + AHEAD);
                    const Vec g = gate ? load(gate + n * channels + c, lanes) : splat(1.f);
                    const Vec raw = load(x + i, lanes), z = prologue.linear(raw, c, lanes);
                    Vec dvalue = pooled ? load(pooled + n * channels + c, lanes) * (1.f / pixels) : Vec{};
                    if (output) {
                        Vec doutput = load(output + i, lanes);
                        if constexpr (b != IDENTITY) {
                            Vec sum = activate<a>(z) * g;
                            if (shortcut) sum += load(shortcut + i, lanes);
                            doutput *= derivative<b>(sum);
                            store(dsum + i, doutput, lanes);
                        }
                        dvalue += doutput * g;
                    }
                    const Vec dz = dvalue * derivative<a>(z);
                    store(dscale + c, load(dscale + c) + dz * raw);
                    store(dshift + c, load(dshift + c) + dz);
                    store(dx + i, dz * load(scale + c, lanes), lanes);
                });
                over_channels(channels, [&](int64_t c, int lanes) {
                    sums.add(c, load(dscale + c), load(dshift + c), lanes);
                });
            }
        }
    });
    sums.total(dprologue);
}

// to [batch, channels]: the mean over pixels of the prologue's output; or, with `output`, the sum of output times it.
extern "C" void reduce(const float* output, const float* x, const float* scale, const float* shift, int activation,
                       float* to, int64_t batch, int64_t pixels, int64_t channels, int threads) {
    const Prologue prologue{scale, shift};
    with_activation(activation, [&](auto a) {
#pragma omp parallel num_threads(threads)
        {
            Scratch gathered(channels + LANES);
#pragma omp for schedule(static)
            for (int64_t n = 0; n < batch; ++n) {
                float* sum = gathered.data();
                gathered.clear();
                over_vectors(n, pixels, channels, [&](int64_t i, int64_t c, int lanes) {
                    __builtin_prefetch(x + i + AHEAD);
                    if (output) __builtin_prefetch(output + i + AHEAD);
                    const Vec value = activate<a>(prologue.linear(load(x + i, lanes), c, lanes));
                    store(sum + c, load(sum + c) + (output ? load(output + i, lanes) * value : value));
                });
                over_channels(channels, [&](int64_t c, int lanes) {
                    store(to + n * channels + c, load(sum + c) * (output ? 1.f : 1.f / pixels), lanes);
                });
            }
        }
    });
}
