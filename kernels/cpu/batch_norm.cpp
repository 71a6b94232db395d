// Batch norm's scale and shift from the moments of what it normalises, and their gradients: vectors over channels, which
// stay in double until they are stored.

#include <cmath>

#include "vector.h"

namespace {

struct Statistics {
    double mean, variance, inverse_deviation;
};

// Of one channel. A variance that rounding made negative is zero; one that is not a number stays so.
Statistics statistics(const double* moments, int64_t channel, int64_t channels, double count, double epsilon) {
    const double mean = moments[channel] / count;
    const double difference = moments[channels + channel] / count - mean * mean;
    const double variance = difference < 0 ? 0 : difference;
    return {mean, variance, 1 / std::sqrt(variance + epsilon)};
}

float moved(float running, double batch, double momentum) {
    return static_cast<float>(running + momentum * (batch - running));
}

}  // namespace

// moments [2, channels]; weight, bias and the running statistics have at least `channels` entries, and the latter may be
// null; scale, shift [channels].
extern "C" void batch_norm(const double* moments, int64_t count, const float* weight, const float* bias, double epsilon,
                           float* running_mean, float* running_variance, double momentum, float* scale, float* shift,
                           int64_t channels, int /* threads: one is enough */) {
    const double unbiased = static_cast<double>(count) / std::max<int64_t>(count - 1, 1);
    for (int64_t c = 0; c < channels; ++c) {
        const Statistics of = statistics(moments, c, channels, count, epsilon);
        const double factor = weight[c] * of.inverse_deviation;
        scale[c] = static_cast<float>(factor);
        shift[c] = static_cast<float>(bias[c] - of.mean * factor);
        if (!running_mean) continue;
        running_mean[c] = moved(running_mean[c], of.mean, momentum);
        running_variance[c] = moved(running_variance[c], of.variance * unbiased, momentum);
    }
}

// dscale, dshift [channels]; dmoments [2, channels]; dweight, dbias [all], zero beyond `channels`.
extern "C" void batch_norm_backward(const float* dscale, const float* dshift, const double* moments, int64_t count,
                                    const float* weight, double epsilon, double* dmoments, float* dweight,
                                    float* dbias, int64_t channels, int64_t all, int /* threads: one is enough */) {
    for (int64_t c = 0; c < channels; ++c) {
        const Statistics of = statistics(moments, c, channels, count, epsilon);
        const double slope = (dscale[c] - of.mean * dshift[c]) * of.inverse_deviation;
        const double dvariance = -0.5 * of.inverse_deviation * of.inverse_deviation * weight[c] * slope;
        const double dmean = -weight[c] * of.inverse_deviation * dshift[c] - 2 * of.mean * dvariance;
        dmoments[c] = dmean / count;
        dmoments[channels + c] = dvariance / count;
        dweight[c] = static_cast<float>(slope);
        dbias[c] = dshift[c];
    }
    std::fill(dweight + channels, dweight + all, 0.f);
    std::fill(dbias + channels, dbias + all, 0.f);
}
