// 1×1 convolution over rows of channels: a matrix product whose operands are normalised and activated on the way in,
// block by block, so that neither is ever stored.

#include "vector.h"

namespace {

constexpr int64_t COLUMNS = 2 * LANES;      // of a tile
constexpr int64_t CHUNK = 8 * TILE_ROWS;    // rows that stay in the cache from the prologue to the last product

int64_t padded(int64_t columns) { return (columns + COLUMNS - 1) / COLUMNS * COLUMNS; }

// One tile of a product: R rows of `a` with `depth` panel rows of `b`. Row r of `a` at depth k is
// a[r · row_stride + k · depth_stride].
template <int R>
inline void tile(const float* a, int64_t row_stride, int64_t depth_stride, const float* b, int64_t b_stride,
                 int64_t depth, Vec (&sum)[R][2]) {
    for (int r = 0; r < R; ++r) sum[r][0] = sum[r][1] = Vec{};
    for (int64_t k = 0; k < depth; ++k) {
        const Vec b0 = load(b), b1 = load(b + LANES);
        for (int r = 0; r < R; ++r) {
            const float each = a[r * row_stride];
            sum[r][0] += each * b0;
            sum[r][1] += each * b1;
        }
        a += depth_stride;
        b += b_stride;
    }
}

// Calls `pass(row, constant R)` over `rows` rows, in tiles as tall as possible.
template <typename Pass>
inline void over_tiles(int64_t rows, Pass&& pass) {
    int64_t row = 0;
    for (; row + TILE_ROWS <= rows; row += TILE_ROWS) pass(row, std::integral_constant<int, TILE_ROWS>{});
    for (; row + 4 <= rows; row += 4) pass(row, std::integral_constant<int, 4>{});
    for (; row < rows; ++row) pass(row, std::integral_constant<int, 1>{});
}

// Columns [first, first + COLUMNS) of a matrix as a panel [depth][COLUMNS], zero beyond its edge.
// The element at depth k and column c is from[k · depth_stride + c · column_stride].
Scratch panels(const float* from, int64_t depth, int64_t depth_stride, int64_t columns, int64_t column_stride,
               int threads) {
    Scratch packed(padded(columns) * depth);
    float* to = packed.data();
#pragma omp parallel for num_threads(threads)
    for (int64_t first = 0; first < columns; first += COLUMNS) {
        float* panel = to + first * depth;
        const int64_t count = std::min(COLUMNS, columns - first);
        for (int64_t k = 0; k < depth; ++k)
            for (int64_t c = 0; c < count; ++c)
                panel[k * COLUMNS + c] = from[k * depth_stride + (first + c) * column_stride];
    }
    return packed;
}

// `rows` rows of x, normalised and activated, into rows of `stride` floats.
template <int A>
void prepare(const float* x, int64_t rows, int64_t channels, Prologue prologue, float* to, int64_t stride) {
    for (int64_t c = 0; c < channels; c += LANES) {
        const int count = static_cast<int>(std::min<int64_t>(LANES, channels - c));
        const Vec scale = prologue ? load(prologue.scale + c, count) : splat(1.f);
        const Vec shift = prologue ? load(prologue.shift + c, count) : Vec{};
        for (int64_t row = 0; row < rows; ++row) {
            const Vec value = load(x + row * channels + c, count);
            store(to + row * stride + c, prologue ? activate<A>(value * scale + shift) : value);
        }
    }
}

template <int A>
void forward(const float* x, Prologue prologue, const float* weight, int64_t weight_stride, float* y, double* moments,
             int64_t rows, int64_t inputs, int64_t outputs, int threads) {
    Scratch packed = panels(weight, inputs, 1, outputs, weight_stride, threads);
    ChannelSums sums(threads, outputs);
    const int64_t stride = padded(inputs);
#pragma omp parallel num_threads(threads)
    {
        Scratch scratch(prologue ? CHUNK * stride : 0);
#pragma omp for schedule(static)
        for (int64_t first = 0; first < rows; first += CHUNK) {
            const int64_t count = std::min(CHUNK, rows - first);
            const float* a = x + first * inputs;
            int64_t a_stride = inputs;
            if (prologue) {
                prepare<A>(a, count, inputs, prologue, scratch.data(), stride);
                a = scratch.data();
                a_stride = stride;
            }
            for (int64_t column = 0; column < outputs; column += COLUMNS) {
                const float* panel = packed.data() + column * inputs;
                const int left = static_cast<int>(std::min<int64_t>(LANES, outputs - column));
                const int right = static_cast<int>(std::clamp<int64_t>(outputs - column - LANES, 0, LANES));
                Vec pivot[2], sum[2] = {}, square[2] = {};
                over_tiles(count, [&](int64_t row, auto constant) {
                    constexpr int R = constant;
                    Vec value[R][2];
                    tile<R>(a + row * a_stride, a_stride, 1, panel, COLUMNS, inputs, value);
                    if (row == 0) std::copy_n(value[0], 2, pivot);
                    for (int r = 0; r < R; ++r) {
                        float* to = y + (first + row + r) * outputs + column;
                        store(to, value[r][0], left);
                        if (right) store(to + LANES, value[r][1], right);
                        for (int half = 0; half < 2; ++half) {
                            const Vec distance = value[r][half] - pivot[half];
                            sum[half] += distance;
                            square[half] += distance * distance;
                        }
                    }
                });
                sums.add_moments(column, pivot[0], count, sum[0], square[0], left);
                if (right) sums.add_moments(column + LANES, pivot[1], count, sum[1], square[1], right);
            }
        }
    }
    sums.total(moments);
}

// dx, sums and dweight of one chunk after the other: the output's gradient and the normalised input of a chunk are
// computed once and used for both products.
template <int A>
void backward(const OutputGradient& gradient, const float* x, Prologue prologue, const float* weight, int64_t weight_stride,
              float* dx, float* dprologue, float* dweight, int64_t rows, int64_t inputs, int64_t outputs,
              int threads) {
    Scratch packed = panels(weight, outputs, weight_stride, inputs, 1, threads);
    ChannelSums sums(threads, inputs);
    const int64_t stride = padded(inputs);
    std::vector<float> partial(threads * outputs * stride);  // of dweight, by thread
#pragma omp parallel num_threads(threads)
    {
        Scratch input(CHUNK * stride), output(CHUNK * outputs + LANES);
        float *a = input.data(), *g = output.data();
        float* own = partial.data() + omp_get_thread_num() * outputs * stride;
#pragma omp for schedule(static)
        for (int64_t first = 0; first < rows; first += CHUNK) {
            const int64_t count = std::min(CHUNK, rows - first);
            prepare<A>(x + first * inputs, count, inputs, prologue, a, stride);
            for (int64_t row = 0; row < count; ++row)
                for (int64_t c = 0; c < outputs; c += LANES) {
                    const int lanes = static_cast<int>(std::min<int64_t>(LANES, outputs - c));
                    store(g + row * outputs + c, gradient.at((first + row) * outputs + c, c, lanes), lanes);
                }
            for (int64_t column = 0; column < inputs; column += COLUMNS) {
                const float* panel = packed.data() + column * outputs;
                int lanes[2];
                Vec scale[2], shift[2], dscale[2] = {}, dshift[2] = {};
                for (int half = 0; half < 2; ++half) {
                    const int64_t c = column + half * LANES;
                    lanes[half] = static_cast<int>(std::clamp<int64_t>(inputs - c, 0, LANES));
                    scale[half] = prologue && lanes[half] ? load(prologue.scale + c, lanes[half]) : splat(1.f);
                    shift[half] = prologue && lanes[half] ? load(prologue.shift + c, lanes[half]) : Vec{};
                }
                over_tiles(count, [&](int64_t row, auto constant) {
                    constexpr int R = constant;
                    Vec value[R][2];
                    tile<R>(g + row * outputs, outputs, 1, panel, COLUMNS, outputs, value);
                    for (int r = 0; r < R; ++r) {
                        const int64_t offset = (first + row + r) * inputs + column;
                        for (int half = 0; half < 2; ++half) {
                            if (!lanes[half]) continue;
                            const Vec raw = load(x + offset + half * LANES, lanes[half]);
                            Vec dz = value[r][half];
                            if (prologue) dz *= derivative<A>(raw * scale[half] + shift[half]);
                            dscale[half] += dz * raw;
                            dshift[half] += dz;
                            store(dx + offset + half * LANES, dz * scale[half], lanes[half]);
                        }
                    }
                });
                for (int half = 0; half < 2; ++half)
                    sums.add(column + half * LANES, dscale[half], dshift[half], lanes[half]);
                over_tiles(outputs, [&](int64_t row, auto constant) {
                    constexpr int R = constant;
                    Vec value[R][2];
                    tile<R>(g + row, 1, outputs, a + column, stride, count, value);
                    for (int r = 0; r < R; ++r)
                        for (int half = 0; half < 2; ++half) {
                            float* to = own + (row + r) * stride + column + half * LANES;
                            store(to, load(to) + value[r][half]);
                        }
                });
            }
        }
#pragma omp for schedule(static)
        for (int64_t row = 0; row < outputs; ++row)
            for (int64_t c = 0; c < inputs; ++c) {
                float sum = 0;
                for (int thread = 0; thread < threads; ++thread) sum += partial[(thread * outputs + row) * stride + c];
                dweight[row * weight_stride + c] = sum;
            }
    }
    if (prologue) sums.total(dprologue);
}

}  // namespace

// x [rows, inputs], weight [outputs of more, inputs of weight_stride], y [rows, outputs], moments [2, outputs].
extern "C" void pointwise(const float* x, const float* scale, const float* shift, int activation, const float* weight,
                          int64_t weight_stride, float* y, double* moments, int64_t rows, int64_t inputs,
                          int64_t outputs, int threads) {
    with_activation(activation, [&](auto a) {
        forward<a>(x, {scale, shift}, weight, weight_stride, y, moments, rows, inputs, outputs, threads);
    });
}

// dprologue [2, inputs]: gradients of scale and shift. dweight has the shape of weight; its leading block is written.
extern "C" void pointwise_backward(const float* direct, const float* y, const double* dmoments, const float* x,
                                   const float* scale, const float* shift, int activation, const float* weight,
                                   int64_t weight_stride, float* dx, float* dprologue, float* dweight, int64_t rows,
                                   int64_t inputs, int64_t outputs, int threads) {
    with_activation(activation, [&](auto a) {
        backward<a>({direct, y, dmoments, outputs}, x, {scale, shift}, weight, weight_stride, dx, dprologue, dweight,
                    rows, inputs, outputs, threads);
    });
}
