#include "src/nn/norms.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/norm.hpp"
#include "src/nn/conv.hpp"
#include "src/tensor/op_support.hpp"

namespace rankine {
namespace {

// Numbers of channels, [L, C], seen along x [L, B, C, ...].
Tensor along_channels(const Tensor& numbers, const Tensor& x) {
  Shape shape = x.shape();
  for (int i = 1; i < shape.rank(); ++i)
    if (i != 2) shape[i] = 1;
  return reshape(numbers, shape);
}

// The mean of x [L, B, C, ...] by channel, over all shards (or each): [L, C]. On the tape.
Tensor channel_mean(const Tensor& x, const SharedTileSum& shards, double count) {
  const Tensor sums = sum_by_channel(x);
  return scale(shards ? replicate_over_tiles(sum_over_tiles(sums, shards), shards) : sums, 1 / count);
}

// The derivatives of batch_norm in ops, for higher ones.
std::vector<Tensor> batch_norm_derivatives(const Tensor& x, const Tensor& gamma, const Tensor& g,
                                           const SharedTileSum& shards, double count, double epsilon) {
  const Tensor centred = sub(x, along_channels(channel_mean(x, shards, count), x));
  const Tensor variance = channel_mean(square(centred), shards, count);
  const Tensor root = sqrt(add_scalar(variance, epsilon));
  const Tensor inverse = along_channels(div(Tensor::full({}, x.dtype(), 1), root), x);
  const Tensor z = mul(centred, inverse);
  const Tensor u = gamma.defined() ? mul(g, along_channels(gamma, x)) : g;
  const Tensor flat = along_channels(channel_mean(u, shards, count), x);
  const Tensor bend = mul(z, along_channels(channel_mean(mul(u, z), shards, count), x));
  return {mul(inverse, sub(u, add(flat, bend))), sum_by_channel(mul(g, z)), sum_by_channel(g)};
}

}  // namespace

Tensor batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, const SharedTileSum& shards,
                  double epsilon, BatchStatistics* statistics, const SharedTileSum& all) {
  RANKINE_ASSERT(x.rank() >= 3 && gamma.defined() == beta.defined(),
                 "batch_norm of " + x.shape().text() + ", with gamma and beta or neither");
  const std::int64_t L = x.extent(0), B = x.extent(1), C = x.extent(2);
  const std::int64_t space = extents(x.shape(), 2) / C;
  const Tensor in = dense(x);
  const Tensor factors = dense_slices(gamma);
  const Tensor terms = dense_slices(beta);
  Tensor mean = Tensor::empty({L, C}, DType::f64), inverse = Tensor::empty({L, C}, DType::f64);
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  double count = static_cast<double>(B * space);
  const double shard_count = count;

  dispatch_real(x.dtype(), "batch_norm", [&](auto zero) {
    using T = decltype(zero);
    const HostSlices<HostRead<T>> in_at(in);
    const HostSlices<HostRead<T>> factors_at(factors);
    const HostSlices<HostRead<T>> terms_at(terms);
    const HostSlices<HostWrite<T>> y_at(y);
    // For each shard: its count, count * mean and count * mean^2 + deviation of each channel.
    const auto width = static_cast<std::size_t>(2 * C + 1);
    std::vector<double> moments(static_cast<std::size_t>(L) * width), total(width);
    std::vector<double> deviation(static_cast<std::size_t>(L * C));
    const HostWrite<double> m(mean), root_of(inverse);
    for (std::int64_t l = 0; l < L; ++l) {
      kernels::channel_moments(B, C, space, in_at[l], m + l * C, deviation.data() + l * C);
      double* row = moments.data() + static_cast<std::size_t>(l) * width;
      row[2 * C] = shard_count;
      for (std::int64_t c = 0; c < C; ++c) {
        const double middle = m[l * C + c], spread = deviation[static_cast<std::size_t>(l * C + c)];
        row[c] = shards ? shard_count * middle : middle;
        row[C + c] = shards ? spread + shard_count * middle * middle : spread / shard_count;
      }
    }
    if (shards) {
      shards->sum(std::span<const double>(moments), std::span<double>(total));
      count = total[static_cast<std::size_t>(2 * C)];
    } else if (statistics != nullptr) {
      all->sum(std::span<const double>(moments), std::span<double>(total));
    }
    const double runs = shards ? count : total[static_cast<std::size_t>(2 * C)] / shard_count;
    if (shards || statistics != nullptr) {
      for (std::int64_t c = 0; c < C; ++c) {
        double& middle = total[static_cast<std::size_t>(c)];
        double& spread = total[static_cast<std::size_t>(C + c)];
        middle /= runs;
        spread /= runs;
        if (shards) spread = std::max(0.0, spread - middle * middle);
      }
    }
    if (statistics != nullptr) {
      statistics->mean = Tensor::from(std::vector<double>(total.begin(), total.begin() + C), {C});
      statistics->variance = Tensor::from(std::vector<double>(total.begin() + C, total.begin() + 2 * C), {C});
      statistics->count = count;
    }
    std::vector<T> factor(static_cast<std::size_t>(C)), term(factor);
    for (std::int64_t l = 0; l < L; ++l) {
      for (std::int64_t c = 0; c < C; ++c) {
        const auto i = static_cast<std::size_t>(c);
        double variance = deviation[static_cast<std::size_t>(l * C + c)] / shard_count;
        if (shards) {
          m[l * C + c] = total[i];
          variance = total[static_cast<std::size_t>(C + c)];
        }
        const double root = 1 / std::sqrt(variance + epsilon);
        root_of[l * C + c] = root;
        const double a = root * (factors.defined() ? static_cast<double>(factors_at[l][c]) : 1);
        factor[i] = static_cast<T>(a);
        term[i] =
            static_cast<T>((terms.defined() ? static_cast<double>(terms_at[l][c]) : 0) - a * m[l * C + c]);
      }
      kernels::channel_affine(B, C, space, in_at[l], factor.data(), term.data(), y_at[l]);
    }
  });

  const auto vjp = [=](const std::vector<Tensor>& g, const VjpContext& context) -> std::vector<Tensor> {
    if (context.create_graph()) {
      std::vector<Tensor> back = batch_norm_derivatives(x, gamma, g[0], shards, count, epsilon);
      if (!gamma.defined()) back.resize(1);
      return back;
    }
    const Tensor dy = dense(g[0]);
    Tensor dx = Tensor::empty(x.shape(), x.dtype()), dgamma, dbeta;
    {
      const Uncounted scope;
      dgamma = Tensor::empty({L, C}, x.dtype());
      dbeta = Tensor::empty({L, C}, x.dtype());
    }
    dispatch_real(x.dtype(), "batch_norm", [&](auto zero) {
      using T = decltype(zero);
      const HostSlices<HostRead<T>> in_at(in);
      const HostSlices<HostRead<T>> dy_at(dy);
      const HostSlices<HostRead<T>> factors_at(factors);
      const HostSlices<HostWrite<T>> dgamma_at(dgamma);
      const HostSlices<HostWrite<T>> dbeta_at(dbeta);
      // By shard: sum u and sum u (x - mean) for u = gamma dy.
      std::vector<double> sums(static_cast<std::size_t>(2 * L * C)), total(static_cast<std::size_t>(2 * C));
      const HostRead<double> m(mean), root(inverse);
      for (std::int64_t l = 0; l < L; ++l) {
        double* plain = sums.data() + 2 * l * C;
        double* centred = plain + C;
        kernels::channel_norm_sums(B, C, space, in_at[l], dy_at[l], m + l * C, plain, centred);
        for (std::int64_t c = 0; c < C; ++c) {
          dgamma_at[l][c] = static_cast<T>(centred[c] * root[l * C + c]);
          dbeta_at[l][c] = static_cast<T>(plain[c]);
          const double factor = factors.defined() ? static_cast<double>(factors_at[l][c]) : 1;
          plain[c] *= factor;
          centred[c] *= factor;
        }
      }
      if (!context.needs(0)) return;
      const HostSlices<HostWrite<T>> dx_at(dx);
      if (shards) shards->sum(std::span<const double>(sums), std::span<double>(total));
      std::vector<T> a(static_cast<std::size_t>(C)), b(a), d(a);
      for (std::int64_t l = 0; l < L; ++l) {
        const double* mine = shards ? total.data() : sums.data() + 2 * l * C;
        for (std::int64_t c = 0; c < C; ++c) {
          const auto i = static_cast<std::size_t>(c);
          const double r = root[l * C + c];
          const double factor = factors.defined() ? static_cast<double>(factors_at[l][c]) : 1;
          const double bend = -r * r * r * mine[C + c] / count;
          a[i] = static_cast<T>(r * factor);
          b[i] = static_cast<T>(bend);
          d[i] = static_cast<T>(-r * mine[c] / count - bend * m[l * C + c]);
        }
        kernels::channel_norm_backward(B, C, space, in_at[l], dy_at[l], a.data(), b.data(), d.data(),
                                       dx_at[l]);
      }
    });
    count_cost("batch_norm_backward", {8 * static_cast<double>(x.count()), 5 * bytes_of(x)});
    if (!gamma.defined()) return {dx};
    return {dx, dgamma, dbeta};
  };
  const std::vector<Tensor> inputs =
      gamma.defined() ? std::vector<Tensor>{x, gamma, beta} : std::vector<Tensor>{x};
  return apply_op("batch_norm", inputs, y, vjp,
                  {.cost = {5 * static_cast<double>(x.count()), 3 * bytes_of(x)}});
}

Tensor channel_affine(const Tensor& x, const Tensor& factor, const Tensor& term) {
  RANKINE_ASSERT(
      x.rank() >= 3 && factor.shape() == Shape({x.extent(0), x.extent(2)}) && term.shape() == factor.shape(),
      "channel_affine of " + x.shape().text() + " with " + factor.shape().text());
  const std::int64_t C = x.extent(2);
  const Tensor in = dense(x), a = dense_slices(factor), b = dense_slices(term);
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  dispatch_real(x.dtype(), "channel_affine", [&](auto zero) {
    using T = decltype(zero);
    const HostSlices<HostRead<T>> in_at(in);
    const HostSlices<HostRead<T>> a_at(a);
    const HostSlices<HostRead<T>> b_at(b);
    const HostSlices<HostWrite<T>> y_at(y);
    for (std::int64_t l = 0; l < x.extent(0); ++l)
      kernels::channel_affine(x.extent(1), C, extents(x.shape(), 2) / C, in_at[l], a_at[l], b_at[l], y_at[l]);
  });
  const auto vjp = [x, factor](const std::vector<Tensor>& g, const VjpContext& context) {
    std::vector<Tensor> back(3);
    if (context.needs(0)) back[0] = mul(g[0], along_channels(factor, g[0]));
    if (context.needs(1)) back[1] = sum_by_channel(mul(g[0], x));
    if (context.needs(2)) back[2] = sum_by_channel(g[0]);
    return back;
  };
  return apply_op("channel_affine", {x, factor, term}, y, vjp,
                  {.cost = {2 * static_cast<double>(x.count()), 2 * bytes_of(x)}});
}

namespace {

// The extents of row_norm's kernels.
struct Rows {
  std::int64_t rows, groups, channels, space;  // rows of one shard
};

Rows rows_of(const Shape& x, const RowNorm& how) {
  const std::int64_t sample = extents(x, 2), batch = x[1];
  if (how.groups > 0) {
    RANKINE_ASSERT(x.rank() >= 3 && x[2] % how.groups == 0,
                   std::to_string(how.groups) + " groups of channels of " + x.text());
    return {batch * how.groups, how.groups, x[2] / how.groups, sample / x[2]};
  }
  RANKINE_ASSERT(how.axes >= 1 && how.axes + 2 <= x.rank(),
                 std::to_string(how.axes) + " axes of a sample of " + x.text());
  const std::int64_t row = extents(x, -how.axes);
  return {batch * (row == 0 ? 0 : sample / row), 1, row, 1};
}

// The derivatives of normalise_rows in ops, for higher ones.
std::vector<Tensor> row_norm_derivatives(const Tensor& x, const Tensor& gamma, const Tensor& beta,
                                         const Tensor& g, const RowNorm& how) {
  const Rows rows = rows_of(x.shape(), how);
  const std::int64_t L = x.extent(0);
  const Shape split{L, rows.rows / rows.groups, rows.groups, rows.channels, rows.space};
  const Shape numbers{L, 1, rows.groups, rows.channels, 1};
  const auto row_mean = [](const Tensor& v) { return mean(v, {3, 4}, true); };
  const Tensor xs = reshape(x, split), gs = reshape(g, split);
  const Tensor centred = how.centred ? sub(xs, row_mean(xs)) : xs;
  const Tensor root = sqrt(add_scalar(row_mean(square(centred)), how.epsilon));
  const Tensor z = div(centred, root);
  const Tensor u = gamma.defined() ? mul(gs, reshape(gamma, numbers)) : gs;
  Tensor bracket = sub(u, mul(z, row_mean(mul(u, z))));
  if (how.centred) bracket = sub(bracket, row_mean(u));
  std::vector<Tensor> back{reshape(div(bracket, root), x.shape())};
  if (gamma.defined()) back.push_back(reshape(sum(mul(gs, z), {1, 4}, true), gamma.shape()));
  if (beta.defined()) back.push_back(reshape(sum(gs, {1, 4}, true), beta.shape()));
  return back;
}

}  // namespace

Tensor normalise_rows(const Tensor& x, const Tensor& gamma, const Tensor& beta, const RowNorm& how) {
  const Rows rows = rows_of(x.shape(), how);
  const std::int64_t L = x.extent(0);
  for (const Tensor& p : {gamma, beta})
    RANKINE_ASSERT(!p.defined() || (p.extent(0) == L && p.count() == L * rows.groups * rows.channels),
                   "normalise_rows of " + x.shape().text() + " with " + p.shape().text());
  const Tensor in = dense(x);
  const Tensor factors = dense_slices(gamma);
  const Tensor terms = dense_slices(beta);
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  const Tensor inverse = Tensor::empty({L, rows.rows}, x.dtype());
  const Tensor middle = how.centred ? Tensor::empty({L, rows.rows}, x.dtype()) : Tensor();
  dispatch_real(x.dtype(), "normalise_rows", [&](auto zero) {
    using T = decltype(zero);
    const HostSlices<HostRead<T>> in_at(in);
    const HostSlices<HostRead<T>> factors_at(factors);
    const HostSlices<HostRead<T>> terms_at(terms);
    const HostSlices<HostWrite<T>> y_at(y);
    const HostSlices<HostWrite<T>> middle_at(middle);
    const HostSlices<HostWrite<T>> inverse_at(inverse);
    for (std::int64_t l = 0; l < L; ++l)
      kernels::row_norm_forward<T>(rows.rows, rows.groups, rows.channels, rows.space, how.centred,
                                   static_cast<T>(how.epsilon), in_at[l], factors_at[l], terms_at[l], y_at[l],
                                   middle_at[l], inverse_at[l]);
  });
  const auto vjp = [=](const std::vector<Tensor>& g, const VjpContext& context) -> std::vector<Tensor> {
    if (context.create_graph()) return row_norm_derivatives(x, gamma, beta, g[0], how);
    const Tensor dy = dense(g[0]);
    Tensor dx = Tensor::empty(x.shape(), x.dtype()), dgamma, dbeta;
    {
      const Uncounted scope;
      if (gamma.defined()) dgamma = Tensor::zeros(gamma.shape(), x.dtype());
      if (beta.defined()) dbeta = Tensor::zeros(beta.shape(), x.dtype());
    }
    dispatch_real(x.dtype(), "normalise_rows", [&](auto zero) {
      using T = decltype(zero);
      const HostSlices<HostRead<T>> in_at(in);
      const HostSlices<HostRead<T>> dy_at(dy);
      const HostSlices<HostRead<T>> factors_at(factors);
      const HostSlices<HostRead<T>> middle_at(middle);
      const HostSlices<HostRead<T>> inverse_at(inverse);
      const HostSlices<HostWrite<T>> dx_at(dx);
      const HostSlices<HostUpdate<T>> dgamma_at(dgamma);
      const HostSlices<HostUpdate<T>> dbeta_at(dbeta);
      for (std::int64_t l = 0; l < L; ++l)
        kernels::row_norm_backward<T>(rows.rows, rows.groups, rows.channels, rows.space, how.centred,
                                      in_at[l], dy_at[l], factors_at[l], middle_at[l], inverse_at[l],
                                      dx_at[l], dgamma_at[l], dbeta_at[l]);
    });
    count_cost("normalise_rows_backward", {12 * static_cast<double>(x.count()), 3 * bytes_of(x)});
    std::vector<Tensor> back{dx};
    if (gamma.defined()) back.push_back(dgamma);
    if (beta.defined()) back.push_back(dbeta);
    return back;
  };
  std::vector<Tensor> inputs{x};
  if (gamma.defined()) inputs.push_back(gamma);
  if (beta.defined()) inputs.push_back(beta);
  return apply_op("normalise_rows", inputs, y, vjp,
                  {.cost = {8 * static_cast<double>(x.count()), 2 * bytes_of(x)}});
}

}  // namespace rankine
