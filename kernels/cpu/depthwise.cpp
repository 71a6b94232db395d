// Depthwise convolution, image by image and row by row: a row of all channels is normalised and activated once into
// scratch memory, in blocks of as many channels as a vector holds, and stays there, in the cache, for as long as a
// kernel reaches it. Memory is asked for a row ahead, read or written: between one row's work and the next one's, the
// processor's own prefetching loses the track.

#include <array>
#include <numeric>

#include "vector.h"

namespace {

constexpr int64_t ROWS_BYTES = 1 << 19;  // of scratch rows held at once: half of a small second-level cache

struct Shape {
    int64_t batch, channels, height, width, kernel, stride;

    int64_t out_height() const { return (height - 1) / stride + 1; }
    int64_t out_width() const { return (width - 1) / stride + 1; }
    int64_t blocks() const { return (channels + LANES - 1) / LANES; }
    int lanes(int64_t block) const { return static_cast<int>(std::min<int64_t>(LANES, channels - block * LANES)); }
};

// The last rows of an image that were added, of a number of blocks of channels, with zeros left and right:
// [rows][blocks][width + 2 · border][LANES].
class Rows {
   public:
    Rows(int64_t rows, int64_t blocks, int64_t width, int64_t border)
        : rows_(rows), blocks_(blocks), border_(border), row_((width + 2 * border) * LANES),
          memory_(floats(rows, blocks, width, border)) {
        memory_.clear();
    }

    static int64_t floats(int64_t rows, int64_t blocks, int64_t width, int64_t border) {
        return rows * blocks * (width + 2 * border) * LANES;
    }

    float* at(int64_t h, int64_t block, int64_t w) {
        return memory_.data() + (h % rows_ * blocks_ + block) * row_ + (w + border_) * LANES;
    }

    // Row h, of channels [first, first + channels) and of pixels that lie `stride` apart: `value(offset, channel,
    // lanes)`, with the offset from the first channel of the first pixel.
    template <typename Value>
    void add(int64_t h, int64_t width, int64_t first, int64_t channels, int64_t stride, Value&& value) {
        float* to = at(h, 0, 0);
        for (int64_t w = 0; w < width; ++w) {
            int64_t block = 0;
            for (; (block + 1) * LANES <= channels; ++block)
                store(to + block * row_ + w * LANES, value(w * stride + block * LANES, first + block * LANES, LANES));
            if (const int64_t left = channels - block * LANES; left > 0)
                store(to + block * row_ + w * LANES,
                      value(w * stride + block * LANES, first + block * LANES, static_cast<int>(left)));
        }
    }

   private:
    int64_t rows_, blocks_, border_, row_;
    Scratch memory_;
};

// Blocks of channels in groups, of which a thread takes one of one image at a time: it holds `floats` of each block, and
// there are enough groups for all threads.
struct Groups {
    int64_t blocks, size, count;

    Groups(const Shape& shape, int64_t floats, int threads) : blocks(shape.blocks()) {
        const int64_t wanted = (4 * threads + shape.batch - 1) / shape.batch;
        size = std::clamp<int64_t>(std::min(ROWS_BYTES / (4 * floats), (blocks + wanted - 1) / wanted), 1, blocks);
        count = (blocks + size - 1) / size;
    }
};

// Weights [channels, kernel, kernel] of any strides, as [blocks][kernel rows][kernel][LANES]; a row's taps in the order
// of `columns`.
Scratch by_block(const float* weight, const int64_t* strides, const Shape& shape, const int64_t* columns) {
    const int64_t kernel = shape.kernel;
    Scratch packed(shape.blocks() * kernel * kernel * LANES);
    float* to = packed.data();
    for (int64_t block = 0; block < shape.blocks(); ++block)
        for (int64_t down = 0; down < kernel; ++down)
            for (int64_t i = 0; i < kernel; ++i, to += LANES) {
                const float* from = weight + block * LANES * strides[0] + down * strides[1] + columns[i] * strides[2];
                for (int lane = 0; lane < LANES; ++lane)
                    to[lane] = lane < shape.lanes(block) ? from[lane * strides[0]] : 0.f;
            }
    return packed;
}

// Row h of an image's normalised and activated inputs.
void add_inputs(Rows& rows, const Shape& shape, int64_t h, const float* image, int64_t first, int64_t channels,
                Prologue prologue, int activation) {
    const int64_t next = shape.width * shape.channels;
    const float* from = image + h * next + first;
    with_activation(activation, [&](auto a) {
        rows.add(h, shape.width, first, channels, shape.channels, [=](int64_t offset, int64_t channel, int lanes) {
            __builtin_prefetch(from + offset + next);
            const Vec raw = load(from + offset, lanes);
            return prologue ? activate<a>(prologue.linear(raw, channel, lanes)) : raw;
        });
    });
}

// Taps that follow one another in a row, of an input and of a kernel.
struct TapRow {
    const float* input;
    const float* weight;
};

constexpr int STRIP = LANES == 4 ? 4 : 8;  // columns whose sums are held in registers

// Calls `pass(column, constant N)` over `columns` columns, in strips as wide as possible.
template <typename Pass>
inline void over_strips(int64_t columns, Pass&& pass) {
    int64_t column = 0;
    for (; column + STRIP <= columns; column += STRIP) pass(column, std::integral_constant<int, STRIP>{});
    if constexpr (STRIP > 4)
        for (; column + 4 <= columns; column += 4) pass(column, std::integral_constant<int, 4>{});
    for (; column < columns; ++column) pass(column, std::integral_constant<int, 1>{});
}

// `emit(column, sums over taps of N columns)` for columns 0 to `columns`, whose inputs lie S pixels apart. A value that
// was read is used for every column that has a tap on it.
template <int TAPS, int S, typename Emit>
inline void convolve_row(const TapRow* rows, int64_t count, int64_t columns, Emit&& emit) {
    over_strips(columns, [&](int64_t column, auto constant) {
        constexpr int N = constant;
        Vec sum[N] = {};
        for (int64_t row = 0; row < count; ++row) {
            const float* input = rows[row].input + column * S * LANES;
            Vec weight[TAPS];
#pragma GCC unroll 8
            for (int tap = 0; tap < TAPS; ++tap) weight[tap] = load(rows[row].weight + tap * LANES);
#pragma GCC unroll 32
            for (int i = 0; i < S * (N - 1) + TAPS; ++i) {
                const Vec value = load(input + i * LANES);
#pragma GCC unroll 8
                for (int tap = 0; tap < TAPS; ++tap)
                    if (i >= tap && (i - tap) % S == 0 && (i - tap) / S < N) sum[(i - tap) / S] += weight[tap] * value;
            }
        }
        emit(column, sum);
    });
}

// The taps of a kernel of K that meet columns PHASE, PHASE + S, … of the input of a convolution with stride S: every
// S-th one, from the last to the first, as a row of output gradients meets them.
template <int K, int S, int PHASE>
struct Turned {
    static constexpr int FIRST = (PHASE + K / 2) % S;
    static constexpr int TAPS = (K - FIRST + S - 1) / S;
    static constexpr int LAST = FIRST + S * (TAPS - 1);
    static constexpr int COLUMN = (PHASE + K / 2 - LAST) / S;  // of the output, whose tap LAST lies on column PHASE
};

// Row h of the input's gradient [width][LANES], before the prologue, of those output rows that are there.
template <int K, int S>
inline void convolve_turned(Rows& g, int64_t block, const float* weight, int64_t h, const Shape& shape, float* to) {
    const auto of_phase = [&](auto constant, const float* taps) {
        using T = Turned<K, S, constant>;
        TapRow rows[K];
        int64_t count = 0;
        for (int64_t down = (h + K / 2) % S; down < K; down += S)
            if (const int64_t out = (h + K / 2 - down) / S; h + K / 2 >= down && out < shape.out_height())
                rows[count++] = {g.at(out, block, T::COLUMN), taps + down * K * LANES};
        const int64_t columns = (shape.width - constant + S - 1) / S;
        convolve_row<T::TAPS, 1>(rows, count, columns, [&](int64_t column, const auto& sums) {
            float* next = to + (constant + S * column) * LANES;
            for (const Vec& sum : sums) {
                store(next, sum);
                next += S * LANES;
            }
        });
    };
    of_phase(std::integral_constant<int, 0>{}, weight);
    if constexpr (S == 2) of_phase(std::integral_constant<int, 1>{}, weight + Turned<K, S, 0>::TAPS * LANES);
}

// The order of a row's taps for `convolve_turned`.
template <int K, int S>
std::array<int64_t, K> turned_columns() {
    std::array<int64_t, K> columns;
    int64_t i = 0;
    for (int64_t phase = 0; phase < S; ++phase)
        for (int64_t tap = K - 1; tap >= 0; --tap)
            if ((phase + K / 2 - tap) % S == 0) columns[i++] = tap;
    return columns;
}

// Adds sum over a row's columns of g · a to ROWS rows of a block's weight gradient [K][K][LANES].
template <int K, int ROWS, int S>
inline void weight_rows(const float* gradient, const float* const* inputs, int64_t columns, float* dweight) {
    Vec sum[ROWS][K];
#pragma GCC unroll 8
    for (int row = 0; row < ROWS; ++row)
#pragma GCC unroll 8
        for (int tap = 0; tap < K; ++tap) sum[row][tap] = load(dweight + (row * K + tap) * LANES);
    over_strips(columns, [&](int64_t column, auto constant) {
        constexpr int N = constant;
        Vec g[N];
#pragma GCC unroll 8
        for (int i = 0; i < N; ++i) g[i] = load(gradient + (column + i) * LANES);
#pragma GCC unroll 8
        for (int row = 0; row < ROWS; ++row) {
            const float* input = inputs[row] + column * S * LANES;
#pragma GCC unroll 32
            for (int i = 0; i < S * (N - 1) + K; ++i) {
                const Vec value = load(input + i * LANES);
#pragma GCC unroll 8
                for (int tap = 0; tap < K; ++tap)
                    if (i >= tap && (i - tap) % S == 0 && (i - tap) / S < N) sum[row][tap] += g[(i - tap) / S] * value;
            }
        }
    });
#pragma GCC unroll 8
    for (int row = 0; row < ROWS; ++row)
#pragma GCC unroll 8
        for (int tap = 0; tap < K; ++tap) store(dweight + (row * K + tap) * LANES, sum[row][tap]);
}

// Rows of taps whose sums are held in registers at once, beside a strip of gradients.
constexpr int weight_rows_at_once(int kernel) {
    const int registers = LANES == 16 ? 32 : 16;
    return std::clamp((registers - STRIP - 1) / kernel, 1, kernel);
}

// Adds one row of output gradients' part to a block's weight gradient, of `count` input rows from tap row `down` on.
template <int K, int S, int ROWS = weight_rows_at_once(K)>
inline void weight_gradient(const float* gradient, const float* const* inputs, int64_t down, int64_t count,
                            int64_t columns, float* dweight) {
    for (; count >= ROWS; count -= ROWS, inputs += ROWS, down += ROWS)
        weight_rows<K, ROWS, S>(gradient, inputs, columns, dweight + down * K * LANES);
    if constexpr (ROWS > 1) weight_gradient<K, S, ROWS - 1>(gradient, inputs, down, count, columns, dweight);
}

template <int K, int S>
void forward(const float* x, Prologue prologue, int activation, const float* weight, const int64_t* weight_strides,
             float* y, double* moments, const Shape& shape, int threads) {
    const int64_t out_height = shape.out_height(), out_width = shape.out_width();
    const int64_t held = std::min<int64_t>(K, shape.height);
    const Groups groups(shape, Rows::floats(held, 1, shape.width, K / 2), threads);
    std::array<int64_t, K> columns;
    std::iota(columns.begin(), columns.end(), 0);
    Scratch packed = by_block(weight, weight_strides, shape, columns.data());
    ChannelSums sums(threads, shape.channels);
#pragma omp parallel num_threads(threads)
    {
        Rows inputs(held, groups.size, shape.width, K / 2);
        Scratch gathered(groups.size * 3 * LANES);  // pivot, sum and sum of squares of each block
#pragma omp for schedule(static) collapse(2)
        for (int64_t n = 0; n < shape.batch; ++n)
            for (int64_t part = 0; part < groups.count; ++part) {
                const int64_t first = part * groups.size, last = std::min(groups.blocks, first + groups.size);
                const int64_t channels = std::min(last * LANES, shape.channels) - first * LANES;
                const float* image = x + n * shape.height * shape.width * shape.channels;
                int64_t next = 0;  // row of the input
                gathered.clear();
                for (int64_t h = 0; h < out_height; ++h) {
                    const int64_t top = h * S - K / 2;  // the input row that the kernel's first row meets
                    const int64_t from = std::max<int64_t>(top, 0), to = std::min(top + K, shape.height);
                    for (; next < to; ++next)
                        add_inputs(inputs, shape, next, image, first * LANES, channels, prologue, activation);
                    for (int64_t block = first; block < last; ++block) {
                        TapRow rows[K];
                        for (int64_t row = from; row < to; ++row)
                            rows[row - from] = {inputs.at(row, block - first, -K / 2),
                                                packed.data() + (block * K + row - top) * K * LANES};
                        const int lanes = shape.lanes(block);
                        float* line = y + (n * out_height + h) * out_width * shape.channels + block * LANES;
                        float* state = gathered.data() + (block - first) * 3 * LANES;
                        Vec pivot = load(state), sum = load(state + LANES), square = load(state + 2 * LANES);
                        convolve_row<K, S>(rows, to - from, out_width, [&](int64_t column, const auto& values) {
                            if (h == 0 && column == 0) pivot = values[0];
                            for (const Vec& value : values) {
                                __builtin_prefetch(line + out_width * shape.channels, 1);
                                store(line, value, lanes);
                                line += shape.channels;
                                const Vec distance = value - pivot;
                                sum += distance;
                                square += distance * distance;
                            }
                        });
                        store(state, pivot), store(state + LANES, sum), store(state + 2 * LANES, square);
                    }
                }
                for (int64_t block = first; block < last; ++block) {
                    const float* state = gathered.data() + (block - first) * 3 * LANES;
                    sums.add_moments(block * LANES, load(state), out_height * out_width, load(state + LANES),
                                     load(state + 2 * LANES), shape.lanes(block));
                }
            }
    }
    sums.total(moments);
}

// Row of the input's gradient through the prologue into dx, whose pixels lie `channels` apart, as those of x do.
void finish_row(const float* row, const float* x, Prologue prologue, int activation, int64_t channel, int lanes,
                int64_t width, int64_t channels, float* dx, Vec& dscale, Vec& dshift) {
    const Vec scale = prologue ? load(prologue.scale + channel, lanes) : splat(1.f);
    const Vec shift = prologue ? load(prologue.shift + channel, lanes) : Vec{};
    with_activation(prologue ? activation : IDENTITY, [&](auto a) {
        Vec first = dscale, second = dshift;
        for (int64_t w = 0; w < width; ++w) {
            const Vec raw = load(x + w * channels, lanes);
            const Vec value = load(row + w * LANES) * derivative<a>(raw * scale + shift);
            first += value * raw;
            second += value;
            __builtin_prefetch(dx + (w + width) * channels, 1);
            store(dx + w * channels, value * scale, lanes);
        }
        dscale = first, dshift = second;
    });
}

template <int K, int S>
void backward(const OutputGradient& gradient, const float* x, Prologue prologue, int activation, const float* weight,
              const int64_t* weight_strides, float* dx, float* dprologue, float* dweight, const Shape& shape,
              int threads) {
    const int64_t out_height = shape.out_height(), out_width = shape.out_width();
    const int64_t a_held = std::min<int64_t>(K, shape.height), g_held = std::min<int64_t>((K - 1) / S + 1, out_height);
    const Groups groups(shape, Rows::floats(a_held, 1, shape.width, K / 2) + Rows::floats(g_held, 1, out_width, K / 2),
                        threads);
    Scratch packed = by_block(weight, weight_strides, shape, turned_columns<K, S>().data());
    ChannelSums sums(threads, shape.channels);
    const int64_t all = groups.blocks * K * K * LANES;
    Scratch partial(threads * all);  // of dweight, by thread
    partial.clear();
#pragma omp parallel num_threads(threads)
    {
        Rows a(a_held, groups.size, shape.width, K / 2), g(g_held, groups.size, out_width, K / 2);
        Scratch row(shape.width * LANES), gathered(groups.size * 2 * LANES);  // gradients of a block's scale and shift
        float* own = partial.data() + omp_get_thread_num() * all;
#pragma omp for schedule(static) collapse(2)
        for (int64_t n = 0; n < shape.batch; ++n)
            for (int64_t part = 0; part < groups.count; ++part) {
                const int64_t first = part * groups.size, last = std::min(groups.blocks, first + groups.size);
                const int64_t channels = std::min(last * LANES, shape.channels) - first * LANES;
                const int64_t in_image = n * shape.height * shape.width * shape.channels;
                int64_t next = 0, done = 0;  // rows of the input, and of its gradient
                gathered.clear();
                for (int64_t h = 0; h < out_height; ++h) {
                    const int64_t top = h * S - K / 2;  // the input row that the kernel's first row meets
                    const int64_t from = std::max<int64_t>(top, 0), to = std::min(top + K, shape.height);
                    for (; next < to; ++next)
                        add_inputs(a, shape, next, x + in_image, first * LANES, channels, prologue, activation);
                    const int64_t line = ((n * out_height + h) * out_width) * shape.channels + first * LANES;
                    g.add(h, out_width, first * LANES, channels, shape.channels,
                          [&](int64_t offset, int64_t channel, int lanes) {
                              gradient.ahead(line + offset + out_width * shape.channels);
                              return gradient.at(line + offset, channel, lanes);
                          });
                    // Input row i is complete when the last output row that reads it is there.
                    const int64_t complete = h + 1 < out_height ? std::max<int64_t>(top + S, done) : shape.height;
                    for (int64_t block = first; block < last; ++block) {
                        const float* inputs[K];
                        for (int64_t i = from; i < to; ++i) inputs[i - from] = a.at(i, block - first, -K / 2);
                        weight_gradient<K, S>(g.at(h, block - first, 0), inputs, from - top, to - from, out_width,
                                              own + block * K * K * LANES);
                        float* state = gathered.data() + (block - first) * 2 * LANES;
                        Vec dscale = load(state), dshift = load(state + LANES);
                        for (int64_t i = done; i < complete; ++i) {
                            const int64_t pixels = in_image + i * shape.width * shape.channels + block * LANES;
                            convolve_turned<K, S>(g, block - first, packed.data() + block * K * K * LANES, i, shape,
                                                  row.data());
                            finish_row(row.data(), x + pixels, prologue, activation, block * LANES, shape.lanes(block),
                                       shape.width, shape.channels, dx + pixels, dscale, dshift);
                        }
                        store(state, dscale), store(state + LANES, dshift);
                    }
                    done = complete;
                }
                for (int64_t block = first; block < last; ++block) {
                    const float* state = gathered.data() + (block - first) * 2 * LANES;
                    sums.add(block * LANES, load(state), load(state + LANES), shape.lanes(block));
                }
            }
    }
    for (int64_t c = 0; c < shape.channels; ++c)
        for (int64_t tap = 0; tap < K * K; ++tap) {
            float sum = 0;
            for (int thread = 0; thread < threads; ++thread)
                sum += partial.data()[thread * all + (c / LANES * K * K + tap) * LANES + c % LANES];
            dweight[c * K * K + tap] = sum;
        }
    if (prologue) sums.total(dprologue);
}

// Calls `pass` with kernel and stride as compile-time constants.
template <typename Pass>
void with_kernel(const Shape& shape, Pass&& pass) {
    const auto with_stride = [&](auto kernel) {
        if (shape.stride == 1) return pass(kernel, std::integral_constant<int, 1>{});
        return pass(kernel, std::integral_constant<int, 2>{});
    };
    switch (shape.kernel) {
        case 3: return with_stride(std::integral_constant<int, 3>{});
        case 5: return with_stride(std::integral_constant<int, 5>{});
        default: return with_stride(std::integral_constant<int, 7>{});
    }
}

}  // namespace

// x [batch, height, width, channels]; weight by its three strides; y of the output's shape; moments [2, channels].
extern "C" void depthwise(const float* x, const float* scale, const float* shift, int activation, const float* weight,
                          const int64_t* weight_strides, float* y, double* moments, const int64_t* shape,
                          int threads) {
    const Shape s{shape[0], shape[1], shape[2], shape[3], shape[4], shape[5]};
    with_kernel(s, [&](auto kernel, auto stride) {
        forward<kernel, stride>(x, {scale, shift}, activation, weight, weight_strides, y, moments, s, threads);
    });
}

// dprologue [2, channels]: gradients of scale and shift; dweight [channels, kernel, kernel].
extern "C" void depthwise_backward(const float* direct, const float* y, const double* dmoments, const float* x,
                                   const float* scale, const float* shift, int activation, const float* weight,
                                   const int64_t* weight_strides, float* dx, float* dprologue, float* dweight,
                                   const int64_t* shape, int threads) {
    const Shape s{shape[0], shape[1], shape[2], shape[3], shape[4], shape[5]};
    with_kernel(s, [&](auto kernel, auto stride) {
        backward<kernel, stride>({direct, y, dmoments, s.channels}, x, {scale, shift}, activation, weight,
                                 weight_strides, dx, dprologue, dweight, s, threads);
    });
}
