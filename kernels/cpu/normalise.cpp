// Passes over activations that no convolution can take along: the end of a block, squeeze-and-excite, pooling.

#include "vector.h"

namespace {

// Calls `pass(image, channel, lanes)` for each block of channels of each image, in parallel.
template <typename Pass>
void over_blocks(int64_t batch, int64_t channels, int threads, Pass&& pass) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t n = 0; n < batch; ++n)
        for (int64_t c = 0; c < channels; c += LANES)
            pass(n, c, static_cast<int>(std::min<int64_t>(LANES, channels - c)));
}

}  // namespace

// x, shortcut, y [batch, pixels, channels]; gate [batch, channels]; gate and shortcut may be null. `last` is the
// activation of the sum.
extern "C" void apply(const float* x, const float* scale, const float* shift, int activation, const float* gate,
                      const float* shortcut, int last, float* y, int64_t batch, int64_t pixels, int64_t channels,
                      int threads) {
    with_activations(activation, last, [&](auto a, auto b) {
        over_blocks(batch, channels, threads, [&](int64_t n, int64_t c, int lanes) {
            const Vec s = load(scale + c, lanes), t = load(shift + c, lanes);
            const Vec g = gate ? load(gate + n * channels + c, lanes) : splat(1.f);
            for (int64_t i = n * pixels * channels + c, end = i + pixels * channels; i < end; i += channels) {
                Vec value = activate<a>(load(x + i, lanes) * s + t);
                if (gate) value *= g;
                if (shortcut) value += load(shortcut + i, lanes);
                store(y + i, activate<b>(value), lanes);
            }
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
    with_activations(activation, last, [&](auto a, auto b) {
        over_blocks(batch, channels, threads, [&](int64_t n, int64_t c, int lanes) {
            const Vec s = load(scale + c, lanes), t = load(shift + c, lanes);
            const Vec g = gate ? load(gate + n * channels + c, lanes) : splat(1.f);
            const Vec p = pooled ? load(pooled + n * channels + c, lanes) * (1.f / pixels) : Vec{};
            Vec dscale{}, dshift{};
            for (int64_t i = n * pixels * channels + c, end = i + pixels * channels; i < end; i += channels) {
                const Vec raw = load(x + i, lanes), z = raw * s + t;
                Vec dvalue = p;
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
                dscale += dz * raw;
                dshift += dz;
                store(dx + i, dz * s, lanes);
            }
            sums.add(c, dscale, dshift, lanes);
        });
    });
    sums.total(dprologue);
}

// to [batch, channels]: the mean over pixels of the prologue's output; or, with `output`, the sum of output times it.
extern "C" void reduce(const float* output, const float* x, const float* scale, const float* shift, int activation,
                       float* to, int64_t batch, int64_t pixels, int64_t channels, int threads) {
    with_activation(activation, [&](auto a) {
        over_blocks(batch, channels, threads, [&](int64_t n, int64_t c, int lanes) {
            const Vec s = load(scale + c, lanes), t = load(shift + c, lanes);
            Vec sum{};
            for (int64_t i = n * pixels * channels + c, end = i + pixels * channels; i < end; i += channels) {
                const Vec value = activate<a>(load(x + i, lanes) * s + t);
                sum += output ? load(output + i, lanes) * value : value;
            }
            store(to + n * channels + c, output ? sum : sum * (1.f / pixels), lanes);
        });
    });
}
