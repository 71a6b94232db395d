// Depthwise convolution, a block of channels at a time: the block's plane is normalised, activated and padded once
// into scratch memory that fits the cache, and every tap reads it from there.

#include "vector.h"

namespace {

constexpr int64_t PLANES_BYTES = 1 << 20;  // of scratch planes held at once: half of a common second-level cache

struct Shape {
    int64_t batch, channels, height, width, kernel, stride;

    int64_t padding() const { return kernel / 2; }
    int64_t out_height() const { return (height - 1) / stride + 1; }
    int64_t out_width() const { return (width - 1) / stride + 1; }
    int64_t blocks() const { return (channels + LANES - 1) / LANES; }
    int lanes(int64_t block) const { return static_cast<int>(std::min<int64_t>(LANES, channels - block * LANES)); }
};

// A block of channels of one image, with a border of zeros: [height + 2p][width + 2p][LANES].
struct Plane {
    int64_t height, width, border;

    int64_t row() const { return (width + 2 * border) * LANES; }
    int64_t size() const { return (height + 2 * border) * row(); }
    float* at(float* plane, int64_t h, int64_t w) const { return plane + (h + border) * row() + (w + border) * LANES; }
};

// Weights [channels, kernel, kernel] of any strides, as [blocks][kernel · kernel][LANES].
Scratch by_block(const float* weight, const int64_t* strides, const Shape& shape) {
    const int64_t taps = shape.kernel * shape.kernel;
    Scratch packed(shape.blocks() * taps * LANES);
    for (int64_t c = 0; c < shape.channels; ++c)
        for (int64_t tap = 0; tap < taps; ++tap)
            packed.data()[(c / LANES * taps + tap) * LANES + c % LANES] =
                weight[c * strides[0] + tap / shape.kernel * strides[1] + tap % shape.kernel * strides[2]];
    return packed;
}

// How many planes of `size` floats are held at once, out of `blocks`.
int64_t group_size(int64_t blocks, int64_t size) {
    return std::clamp<int64_t>(PLANES_BYTES / (4 * size), 1, blocks);
}

// One image's channels [first, last) of blocks, through `value(offset, channel, lanes)`, into planes.
template <typename Value>
void fill(const Plane& plane, float* planes, const Shape& shape, int64_t first, int64_t last, Value&& value) {
    for (int64_t h = 0; h < plane.height; ++h)
        for (int64_t w = 0; w < plane.width; ++w) {
            const int64_t pixel = (h * plane.width + w) * shape.channels;
            for (int64_t block = first; block < last; ++block)
                store(plane.at(planes + (block - first) * plane.size(), h, w),
                      value(pixel + block * LANES, block * LANES, shape.lanes(block)));
        }
}

struct Tap {
    const float* input;
    const float* weight;
};

// `emit(column, sum over taps)` for columns 0 to `columns`, whose inputs lie S pixels apart.
template <int S, typename Emit>
inline void convolve_row(const Tap* taps, int64_t count, int64_t columns, Emit&& emit) {
    const auto strip = [&](int64_t column, auto constant) {
        constexpr int N = constant;
        Vec sum[N] = {};
        for (int64_t t = 0; t < count; ++t) {
            const Vec weight = load(taps[t].weight);
            const float* input = taps[t].input + column * S * LANES;
            for (int i = 0; i < N; ++i) sum[i] += weight * load(input + i * S * LANES);
        }
        for (int i = 0; i < N; ++i) emit(column + i, sum[i]);
    };
    int64_t column = 0;
    for (; column + 8 <= columns; column += 8) strip(column, std::integral_constant<int, 8>{});
    for (; column + 4 <= columns; column += 4) strip(column, std::integral_constant<int, 4>{});
    for (; column < columns; ++column) strip(column, std::integral_constant<int, 1>{});
}

template <int A, int S>
void forward(const float* x, Prologue prologue, const float* weight, const int64_t* weight_strides, float* y,
             double* moments, const Shape& shape, int threads) {
    const int64_t taps = shape.kernel * shape.kernel, blocks = shape.blocks();
    const int64_t out_height = shape.out_height(), out_width = shape.out_width();
    const Plane plane{shape.height, shape.width, shape.padding()};
    const int64_t group = group_size(blocks, plane.size()), groups = (blocks + group - 1) / group;
    Scratch packed = by_block(weight, weight_strides, shape);
    ChannelSums sums(threads, shape.channels);
#pragma omp parallel num_threads(threads)
    {
        Scratch scratch(group * plane.size());
        std::vector<Tap> row(taps);
#pragma omp for schedule(static) collapse(2)
        for (int64_t n = 0; n < shape.batch; ++n)
            for (int64_t part = 0; part < groups; ++part) {
                const int64_t first = part * group, last = std::min(blocks, first + group);
                const float* image = x + n * shape.height * shape.width * shape.channels;
                fill(plane, scratch.data(), shape, first, last, [&](int64_t offset, int64_t channel, int lanes) {
                    const Vec raw = load(image + offset, lanes);
                    return prologue ? activate<A>(prologue.linear(raw, channel, lanes)) : raw;
                });
                for (int64_t block = first; block < last; ++block) {
                    float* a = scratch.data() + (block - first) * plane.size();
                    const int lanes = shape.lanes(block);
                    Vec pivot{}, sum{}, square{};
                    for (int64_t h = 0; h < out_height; ++h) {
                        for (int64_t t = 0; t < taps; ++t)
                            row[t] = {plane.at(a, h * S + t / shape.kernel - plane.border,
                                               t % shape.kernel - plane.border),
                                      packed.data() + (block * taps + t) * LANES};
                        float* to = y + (n * out_height + h) * out_width * shape.channels + block * LANES;
                        convolve_row<S>(row.data(), taps, out_width, [&](int64_t w, Vec value) {
                            store(to + w * shape.channels, value, lanes);
                            if (h == 0 && w == 0) pivot = value;
                            sum += value - pivot;
                            square += (value - pivot) * (value - pivot);
                        });
                    }
                    sums.add_moments(block * LANES, pivot, out_height * out_width, sum, square, lanes);
                }
            }
    }
    sums.total(moments);
}

// Adds sum over pixels of g · a to rows [from, from + ROWS) of a block's weight gradient [K · K][LANES].
template <int K, int ROWS, int S>
void weight_rows(const Plane& g_plane, float* g, const Plane& a_plane, float* a, int64_t from, float* dweight) {
    Vec sum[ROWS][K] = {};
    for (int64_t h = 0; h < g_plane.height; ++h) {
        const float* gradient = g_plane.at(g, h, 0);
        const float* input = a_plane.at(a, h * S + from - a_plane.border, -a_plane.border);
        for (int64_t w = 0; w < g_plane.width; ++w) {
            const Vec each = load(gradient + w * LANES);
            for (int row = 0; row < ROWS; ++row)
                for (int column = 0; column < K; ++column)
                    sum[row][column] += each * load(input + row * a_plane.row() + (w * S + column) * LANES);
        }
    }
    for (int row = 0; row < ROWS; ++row)
        for (int column = 0; column < K; ++column) {
            float* to = dweight + ((from + row) * K + column) * LANES;
            store(to, load(to) + sum[row][column]);
        }
}

template <int S>
void weight_gradient(int64_t kernel, const Plane& g_plane, float* g, const Plane& a_plane, float* a, float* dweight) {
    switch (kernel) {  // as many rows of taps at once as there are registers for
        case 3: return weight_rows<3, 3, S>(g_plane, g, a_plane, a, 0, dweight);
        case 5:
            weight_rows<5, 3, S>(g_plane, g, a_plane, a, 0, dweight);
            return weight_rows<5, 2, S>(g_plane, g, a_plane, a, 3, dweight);
        default:
            for (int64_t from = 0; from < 6; from += 2) weight_rows<7, 2, S>(g_plane, g, a_plane, a, from, dweight);
            return weight_rows<7, 1, S>(g_plane, g, a_plane, a, 6, dweight);
    }
}

template <int A, int S>
void backward(const OutputGradient& gradient, const float* x, Prologue prologue, const float* weight,
              const int64_t* weight_strides, float* dx, float* dprologue, float* dweight, const Shape& shape,
              int threads) {
    const int64_t kernel = shape.kernel, taps = kernel * kernel, blocks = shape.blocks(), padding = shape.padding();
    const int64_t out_height = shape.out_height(), out_width = shape.out_width();
    const Plane a_plane{shape.height, shape.width, padding}, g_plane{out_height, out_width, padding};
    const int64_t group = group_size(blocks, a_plane.size() + g_plane.size());
    const int64_t groups = (blocks + group - 1) / group;
    Scratch packed = by_block(weight, weight_strides, shape);
    ChannelSums sums(threads, shape.channels);
    const int64_t all = blocks * taps * LANES;
    std::vector<float> partial(threads * all);  // of dweight, by thread
#pragma omp parallel num_threads(threads)
    {
        Scratch a_scratch(group * a_plane.size()), g_scratch(group * g_plane.size());
        std::vector<Tap> row(taps);
        float* own = partial.data() + omp_get_thread_num() * all;
#pragma omp for schedule(static) collapse(2)
        for (int64_t n = 0; n < shape.batch; ++n)
            for (int64_t part = 0; part < groups; ++part) {
                const int64_t first = part * group, last = std::min(blocks, first + group);
                const int64_t in_image = n * shape.height * shape.width * shape.channels;
                const int64_t out_image = n * out_height * out_width * shape.channels;
                fill(a_plane, a_scratch.data(), shape, first, last, [&](int64_t offset, int64_t channel, int lanes) {
                    const Vec raw = load(x + in_image + offset, lanes);
                    return prologue ? activate<A>(prologue.linear(raw, channel, lanes)) : raw;
                });
                fill(g_plane, g_scratch.data(), shape, first, last, [&](int64_t offset, int64_t channel, int lanes) {
                    return gradient.at(out_image + offset, channel, lanes);
                });
                for (int64_t block = first; block < last; ++block) {
                    float* a = a_scratch.data() + (block - first) * a_plane.size();
                    float* g = g_scratch.data() + (block - first) * g_plane.size();
                    weight_gradient<S>(kernel, g_plane, g, a_plane, a, own + block * taps * LANES);

                    const int lanes = shape.lanes(block);
                    const Vec scale = prologue ? load(prologue.scale + block * LANES, lanes) : splat(1.f);
                    const Vec shift = prologue ? load(prologue.shift + block * LANES, lanes) : Vec{};
                    Vec dscale{}, dshift{};
                    for (int64_t h = 0; h < shape.height; ++h)
                        for (int64_t phase = 0; phase < S; ++phase) {  // columns phase, phase + S, … share their taps
                            // Input pixel i meets output pixel o through tap t where S · o + t = i + padding.
                            int64_t count = 0;
                            for (int64_t t = 0; t < taps; ++t) {
                                const int64_t down = h + padding - t / kernel, across = phase + padding - t % kernel;
                                if ((down | across) & (S - 1)) continue;
                                row[count++] = {g_plane.at(g, down / S, across / S),
                                                packed.data() + (block * taps + t) * LANES};
                            }
                            const int64_t line = in_image + h * shape.width * shape.channels + block * LANES;
                            const int64_t columns = (shape.width - phase + S - 1) / S;
                            convolve_row<1>(row.data(), count, columns, [&](int64_t column, Vec value) {
                                const int64_t offset = line + (phase + S * column) * shape.channels;
                                const Vec raw = load(x + offset, lanes);
                                if (prologue) value *= derivative<A>(raw * scale + shift);
                                dscale += value * raw;
                                dshift += value;
                                store(dx + offset, value * scale, lanes);
                            });
                        }
                    sums.add(block * LANES, dscale, dshift, lanes);
                }
            }
    }
    for (int64_t c = 0; c < shape.channels; ++c)
        for (int64_t tap = 0; tap < taps; ++tap) {
            float sum = 0;
            for (int thread = 0; thread < threads; ++thread)
                sum += partial[thread * all + (c / LANES * taps + tap) * LANES + c % LANES];
            dweight[c * taps + tap] = sum;
        }
    if (prologue) sums.total(dprologue);
}

template <typename Pass>
void with_stride(int64_t stride, Pass&& pass) {
    if (stride == 1) return pass(std::integral_constant<int, 1>{});
    return pass(std::integral_constant<int, 2>{});
}

}  // namespace

// x [batch, height, width, channels]; weight by its three strides; y of the output's shape; moments [2, channels].
extern "C" void depthwise(const float* x, const float* scale, const float* shift, int activation, const float* weight,
                          const int64_t* weight_strides, float* y, double* moments, const int64_t* shape,
                          int threads) {
    const Shape s{shape[0], shape[1], shape[2], shape[3], shape[4], shape[5]};
    with_activation(activation, [&](auto a) {
        with_stride(s.stride, [&](auto stride) {
            forward<a, stride>(x, {scale, shift}, weight, weight_strides, y, moments, s, threads);
        });
    });
}

// dprologue [2, channels]: gradients of scale and shift; dweight [channels, kernel, kernel].
extern "C" void depthwise_backward(const float* direct, const float* y, const double* dmoments, const float* x,
                                   const float* scale, const float* shift, int activation, const float* weight,
                                   const int64_t* weight_strides, float* dx, float* dprologue, float* dweight,
                                   const int64_t* shape, int threads) {
    const Shape s{shape[0], shape[1], shape[2], shape[3], shape[4], shape[5]};
    with_activation(activation, [&](auto a) {
        with_stride(s.stride, [&](auto stride) {
            backward<a, stride>({direct, y, dmoments, s.channels}, x, {scale, shift}, weight, weight_strides, dx,
                                dprologue, dweight, s, threads);
        });
    });
}
