// 1×1 convolution over rows of channels: a matrix product whose operands are normalised and activated on the way in,
// block by block, so that neither is ever stored. Memory is asked for a chunk of rows ahead, read or written: between
// one chunk's work and the next one's, the processor's own prefetching loses the track.

#include "vector.h"

namespace {

constexpr int64_t COLUMNS = 2 * LANES;    // of a tile
constexpr int64_t CHUNK = 8 * TILE_ROWS;  // rows that stay in the cache from the prologue to the last product

int64_t padded(int64_t columns) { return (columns + LANES - 1) / LANES * LANES; }

// One tile of a product: R rows of `a` with `depth` panel rows of V vectors of `b`. Row r of `a` at depth k is
// a[r · row_stride + k · depth_stride].
template <int R, int V>
inline void tile(const float* a, int64_t row_stride, int64_t depth_stride, const float* b, int64_t b_stride,
                 int64_t depth, Vec (&sum)[R][V]) {
    for (int r = 0; r < R; ++r)
        for (int v = 0; v < V; ++v) sum[r][v] = Vec{};
    for (int64_t k = 0; k < depth; ++k) {
        Vec each[V];
        for (int v = 0; v < V; ++v) each[v] = load(b + v * LANES);
        for (int r = 0; r < R; ++r)
            for (int v = 0; v < V; ++v) sum[r][v] += a[r * row_stride] * each[v];
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

// Calls `pass(column, constant V)` over `columns` columns in panels of V vectors, the last of which may be narrow.
template <typename Pass>
inline void over_panels(int64_t columns, Pass&& pass) {
    int64_t column = 0;
    for (; column + LANES < columns; column += COLUMNS) pass(column, std::integral_constant<int, 2>{});
    if (column < columns) pass(column, std::integral_constant<int, 1>{});
}

// A matrix in panels [depth][V · LANES], zero beyond its edge. The element at depth k and column c is
// from[k · depth_stride + c · column_stride].
Scratch panels(const float* from, int64_t depth, int64_t depth_stride, int64_t columns, int64_t column_stride) {
    Scratch packed((columns + COLUMNS) * depth);
    over_panels(columns, [&](int64_t first, auto vectors) {
        float* to = packed.data() + first * depth;
        for (int64_t k = 0; k < depth; ++k)
            for (int64_t c = first; c < first + vectors * LANES; ++c)
                *to++ = c < columns ? from[k * depth_stride + c * column_stride] : 0.f;
    });
    return packed;
}

// Calls `pass(row, channel, lanes)` over the vectors of `rows` rows, in the order in which they lie in memory.
template <typename Pass>
inline void over_vectors(int64_t rows, int64_t channels, Pass&& pass) {
    for (int64_t row = 0; row < rows; ++row) {
        int64_t c = 0;
        for (; c + LANES <= channels; c += LANES) pass(row, c, LANES);
        if (c < channels) pass(row, c, static_cast<int>(channels - c));
    }
}

// `rows` rows of x, normalised and activated, into rows of `stride` floats; those of the next chunk are asked for.
template <int A>
void prepare(const float* x, int64_t rows, int64_t channels, Prologue prologue, float* to, int64_t stride) {
    over_vectors(rows, channels, [&](int64_t row, int64_t c, int lanes) {
        const float* from = x + row * channels + c;
        __builtin_prefetch(from + CHUNK * channels);
        const Vec value = load(from, lanes);
        store(to + row * stride + c, prologue ? activate<A>(prologue.linear(value, c, lanes)) : value);
    });
}

template <int A>
void forward(const float* x, Prologue prologue, const float* weight, int64_t weight_stride, float* y, double* moments,
             int64_t rows, int64_t inputs, int64_t outputs, int threads) {
    Scratch packed = panels(weight, inputs, 1, outputs, weight_stride);
    ChannelSums sums(threads, outputs);
    const int64_t stride = padded(inputs);
#pragma omp parallel num_threads(threads)
    {
        Scratch scratch(CHUNK * stride);
#pragma omp for schedule(static)
        for (int64_t first = 0; first < rows; first += CHUNK) {
            const int64_t count = std::min(CHUNK, rows - first);
            const float* a = x + first * inputs;
            int64_t a_stride = inputs;
            if (prologue) {
                prepare<A>(a, count, inputs, prologue, scratch.data(), stride);
                a = scratch.data();
                a_stride = stride;
            } else {
                for (int64_t i = 0; i < CHUNK * inputs; i += LANES) __builtin_prefetch(a + CHUNK * inputs + i);
            }
            over_panels(outputs, [&](int64_t column, auto vectors) {
                constexpr int V = vectors;
                const float* panel = packed.data() + column * inputs;
                int lanes[V];
                for (int v = 0; v < V; ++v)
                    lanes[v] = static_cast<int>(std::min<int64_t>(LANES, outputs - column - v * LANES));
                Vec pivot[V] = {}, sum[V] = {}, square[V] = {};
                over_tiles(count, [&](int64_t row, auto constant) {
                    constexpr int R = constant;
                    Vec value[R][V];
                    tile<R, V>(a + row * a_stride, a_stride, 1, panel, V * LANES, inputs, value);
                    if (row == 0) std::copy_n(value[0], V, pivot);
                    for (int r = 0; r < R; ++r)
                        for (int v = 0; v < V; ++v) {
                            float* to = y + (first + row + r) * outputs + column + v * LANES;
                            __builtin_prefetch(to + CHUNK * outputs, 1);
                            store(to, value[r][v], lanes[v]);
                            const Vec distance = value[r][v] - pivot[v];
                            sum[v] += distance;
                            square[v] += distance * distance;
                        }
                });
                for (int v = 0; v < V; ++v)
                    sums.add_moments(column + v * LANES, pivot[v], count, sum[v], square[v], lanes[v]);
            });
        }
    }
    sums.total(moments);
}

// Adds the product of a chunk's transposed `left` [count][left_stride] and `right` [count][right_stride] to
// to [left_columns][right_stride].
inline void add_outer(const float* left, int64_t left_stride, int64_t left_columns, const float* right,
                      int64_t right_stride, int64_t right_columns, int64_t count, float* to) {
    over_panels(right_columns, [&](int64_t column, auto vectors) {
        constexpr int V = vectors;
        over_tiles(left_columns, [&](int64_t row, auto constant) {
            constexpr int R = constant;
            Vec value[R][V];
            tile<R, V>(left + row, 1, left_stride, right + column, right_stride, count, value);
            for (int r = 0; r < R; ++r)
                for (int v = 0; v < V; ++v) {
                    float* at = to + (row + r) * right_stride + column + v * LANES;
                    store(at, load(at) + value[r][v]);
                }
        });
    });
}

// dx, sums and dweight of one chunk after the other: the output's gradient and the normalised input of a chunk are
// computed once and used for both products.
template <int A>
void backward(const OutputGradient& gradient, const float* x, Prologue prologue, const float* weight,
              int64_t weight_stride, float* dx, float* dprologue, float* dweight, int64_t rows, int64_t inputs,
              int64_t outputs, int threads) {
    Scratch packed = panels(weight, outputs, weight_stride, inputs, 1);
    ChannelSums sums(threads, inputs);
    const int64_t in_stride = padded(inputs), out_stride = padded(outputs);
    // dweight's vectors lie along the channels that fill them better.
    const bool along_inputs = in_stride * outputs <= out_stride * inputs;
    const int64_t size = along_inputs ? outputs * in_stride : inputs * out_stride;
    Scratch partial(threads * size);  // of dweight, by thread
    partial.clear();
#pragma omp parallel num_threads(threads)
    {
        Scratch input(CHUNK * in_stride), output(CHUNK * out_stride);
        float *a = input.data(), *g = output.data();
        float* own = partial.data() + omp_get_thread_num() * size;
#pragma omp for schedule(static)
        for (int64_t first = 0; first < rows; first += CHUNK) {
            const int64_t count = std::min(CHUNK, rows - first);
            prepare<A>(x + first * inputs, count, inputs, prologue, a, in_stride);
            over_vectors(count, outputs, [&](int64_t row, int64_t c, int lanes) {
                const int64_t offset = (first + row) * outputs + c;
                gradient.ahead(offset + CHUNK * outputs);
                store(g + row * out_stride + c, gradient.at(offset, c, lanes));
            });
            over_panels(inputs, [&](int64_t column, auto vectors) {
                constexpr int V = vectors;
                const float* panel = packed.data() + column * outputs;
                int lanes[V];
                Vec scale[V], shift[V], dscale[V] = {}, dshift[V] = {};
                for (int v = 0; v < V; ++v) {
                    const int64_t c = column + v * LANES;
                    lanes[v] = static_cast<int>(std::min<int64_t>(LANES, inputs - c));
                    scale[v] = prologue ? load(prologue.scale + c, lanes[v]) : splat(1.f);
                    shift[v] = prologue ? load(prologue.shift + c, lanes[v]) : Vec{};
                }
                over_tiles(count, [&](int64_t row, auto constant) {
                    constexpr int R = constant;
                    Vec value[R][V];
                    tile<R, V>(g + row * out_stride, out_stride, 1, panel, V * LANES, outputs, value);
                    for (int r = 0; r < R; ++r)
                        for (int v = 0; v < V; ++v) {
                            const int64_t offset = (first + row + r) * inputs + column + v * LANES;
                            __builtin_prefetch(dx + offset + CHUNK * inputs, 1);
                            if (!prologue) {
                                store(dx + offset, value[r][v], lanes[v]);
                                continue;
                            }
                            const Vec raw = load(x + offset, lanes[v]);
                            const Vec dz = value[r][v] * derivative<A>(raw * scale[v] + shift[v]);
                            dscale[v] += dz * raw;
                            dshift[v] += dz;
                            store(dx + offset, dz * scale[v], lanes[v]);
                        }
                });
                if (prologue)
                    for (int v = 0; v < V; ++v) sums.add(column + v * LANES, dscale[v], dshift[v], lanes[v]);
            });
            if (along_inputs)
                add_outer(g, out_stride, outputs, a, in_stride, inputs, count, own);
            else
                add_outer(a, in_stride, inputs, g, out_stride, outputs, count, own);
        }
#pragma omp for schedule(static)
        for (int64_t row = 0; row < outputs; ++row)
            for (int64_t c = 0; c < inputs; ++c) {
                const float* from = partial.data() + (along_inputs ? row * in_stride + c : c * out_stride + row);
                float sum = 0;
                for (int thread = 0; thread < threads; ++thread) sum += from[thread * size];
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
