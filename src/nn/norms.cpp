#include "src/nn/norms.hpp"

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

kernels::ChannelExtents extents_of(const Tensor& x) {
  return {.shards = x.extent(0),
          .batch = x.extent(1),
          .channels = x.extent(2),
          .space = extents(x.shape(), 2) / x.extent(2)};
}

// Of what dense_slices() gave.
template <class T>
kernels::ChannelNumbers<T> numbers_of(const Tensor& x) {
  return {device_or_null<T>(x), slice_step(x)};
}

// [L, m], f64, to [m], off the tape.
Tensor summed(const Tensor& rows, const SharedTileSum& shards) {
  const Tensor total = Tensor::empty({rows.extent(1)}, DType::f64);
  shards->sum<double>(rows.data<double>(), rows.extent(1), total.data<double>());
  return total;
}

// Each row times its share, those of one tile added: [tiles, m]. Off the tape.
Tensor shared_rows(const Tensor& rows, const Tensor& shares, std::int64_t tiles) {
  const std::int64_t each = rows.extent(0) / tiles;
  const Tensor weighted = mul(rows, reshape(shares, {rows.extent(0), 1}));
  return contiguous(sum(reshape(weighted, {tiles, each, rows.extent(1)}), {1}));
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
  const Region<"batch_norm"> region;
  RANKINE_ASSERT(x.rank() >= 3 && gamma.defined() == beta.defined(),
                 "batch_norm of " + x.shape().text() + ", with gamma and beta or neither");
  const std::int64_t L = x.extent(0), B = x.extent(1), C = x.extent(2);
  const std::int64_t space = extents(x.shape(), 2) / C;
  const kernels::ChannelExtents e = extents_of(x);
  const Tensor in = dense(x);
  const Tensor factors = dense_slices(gamma);
  const Tensor terms = dense_slices(beta);
  const Tensor mean = Tensor::empty({L, C}, DType::f64), inverse = Tensor::empty({L, C}, DType::f64);
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  const double shard_count = static_cast<double>(B * space);
  const bool added = shards != nullptr;
  // Of all shards, if the moments are theirs; see kernels/norm.hpp.
  Tensor total;
  dispatch_real(x.dtype(), "batch_norm", [&](auto zero) {
    using T = decltype(zero);
    const Tensor moments = Tensor::empty({L, 2 * C + 1}, DType::f64);
    const Tensor work = Tensor::empty({e.workspace()}, x.dtype());
    kernels::channel_moments<T>(e, added, in.data<T>(), moments.data<double>(), work.data<T>());
    if (added || statistics != nullptr) {
      const bool shared = statistics != nullptr && statistics->shares.defined();
      total = summed(shared ? shared_rows(moments, statistics->shares, all->local_tiles()) : moments,
                     added ? shards : all);
    }
    if (statistics != nullptr) {
      statistics->mean = Tensor::empty({C}, DType::f64);
      statistics->variance = Tensor::empty({C}, DType::f64);
      statistics->count = Tensor::empty({1}, DType::f64);
      kernels::channel_statistics(e, added, total.data<double>(), statistics->mean.data<double>(),
                                  statistics->variance.data<double>(), statistics->count.data<double>());
    }
    const Tensor factor = Tensor::empty({L, C}, x.dtype()), term = Tensor::empty({L, C}, x.dtype());
    kernels::channel_norm_coefficients<T>(e, added, epsilon, (added ? total : moments).data<double>(),
                                          numbers_of<T>(factors), numbers_of<T>(terms), mean.data<double>(),
                                          inverse.data<double>(), factor.data<T>(), term.data<T>());
    kernels::channel_affine<T>(e, in.data<T>(), numbers_of<T>(factor), numbers_of<T>(term), y.data<T>());
  });
  // How many values a mean is taken over, f64 [1]; undefined: shard_count.
  const Tensor count = added ? total.view({1}, {1}, 2 * C) : Tensor();

  const auto vjp = [=](const std::vector<Tensor>& g, const VjpContext& context) -> std::vector<Tensor> {
    if (context.create_graph()) {
      const double n = count.defined() ? count.item() : shard_count;
      std::vector<Tensor> back = batch_norm_derivatives(x, gamma, g[0], shards, n, epsilon);
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
      // By shard: sum u and sum u (x - mean) for u = gamma dy.
      Tensor sums = Tensor::empty({L, 2 * C}, DType::f64);
      const Tensor work = Tensor::empty({e.workspace()}, x.dtype());
      kernels::channel_norm_sums<T>(e, in.data<T>(), dy.data<T>(), mean.data<double>(),
                                    inverse.data<double>(), numbers_of<T>(factors), dgamma.data<T>(),
                                    dbeta.data<T>(), sums.data<double>(), work.data<T>());
      if (!context.needs(0)) return;
      if (added) sums = summed(sums, shards);
      const Tensor coefficients = Tensor::empty({3 * L * C}, x.dtype());
      kernels::channel_norm_backward<T>(e, in.data<T>(), dy.data<T>(), mean.data<double>(),
                                        inverse.data<double>(), numbers_of<T>(factors), sums.data<double>(),
                                        device_or_null<double>(count), dx.data<T>(), coefficients.data<T>());
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
  const Region<"channel_affine"> region;
  RANKINE_ASSERT(
      x.rank() >= 3 && factor.shape() == Shape({x.extent(0), x.extent(2)}) && term.shape() == factor.shape(),
      "channel_affine of " + x.shape().text() + " with " + factor.shape().text());
  const Tensor in = dense(x), a = dense_slices(factor), b = dense_slices(term);
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  dispatch_real(x.dtype(), "channel_affine", [&](auto zero) {
    using T = decltype(zero);
    kernels::channel_affine<T>(extents_of(x), in.data<T>(), numbers_of<T>(a), numbers_of<T>(b), y.data<T>());
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

kernels::RowNormExtents rows_of(const Shape& x, const RowNorm& how) {
  const std::int64_t sample = extents(x, 2), batch = x[1];
  if (how.groups > 0) {
    RANKINE_ASSERT(x.rank() >= 3 && x[2] % how.groups == 0,
                   std::to_string(how.groups) + " groups of channels of " + x.text());
    return {x[0], batch * how.groups, how.groups, x[2] / how.groups, sample / x[2], how.centred};
  }
  RANKINE_ASSERT(how.axes >= 1 && how.axes + 2 <= x.rank(),
                 std::to_string(how.axes) + " axes of a sample of " + x.text());
  const std::int64_t row = extents(x, -how.axes);
  return {x[0], batch * (row == 0 ? 0 : sample / row), 1, row, 1, how.centred};
}

// The derivatives of normalise_rows in ops, for higher ones.
std::vector<Tensor> row_norm_derivatives(const Tensor& x, const Tensor& gamma, const Tensor& beta,
                                         const Tensor& g, const RowNorm& how) {
  const kernels::RowNormExtents rows = rows_of(x.shape(), how);
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
  const Region<"normalise_rows"> region;
  const kernels::RowNormExtents rows = rows_of(x.shape(), how);
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
    kernels::row_norm_forward<T>(rows, static_cast<T>(how.epsilon), in.data<T>(), numbers_of<T>(factors),
                                 numbers_of<T>(terms), y.data<T>(), device_or_null<T>(middle),
                                 inverse.data<T>());
  });
  const auto vjp = [=](const std::vector<Tensor>& g, const VjpContext& context) -> std::vector<Tensor> {
    if (context.create_graph()) return row_norm_derivatives(x, gamma, beta, g[0], how);
    const Tensor dy = dense(g[0]);
    Tensor dx = Tensor::empty(x.shape(), x.dtype()), dgamma, dbeta;
    {
      const Uncounted scope;
      if (gamma.defined()) dgamma = Tensor::empty(gamma.shape(), x.dtype());
      if (beta.defined()) dbeta = Tensor::empty(beta.shape(), x.dtype());
    }
    const Tensor work = Tensor::empty({kernels::row_norm_workspace(rows)}, x.dtype());
    dispatch_real(x.dtype(), "normalise_rows", [&](auto zero) {
      using T = decltype(zero);
      kernels::row_norm_backward<T>(rows, in.data<T>(), dy.data<T>(), numbers_of<T>(factors),
                                    device_or_null<T>(middle), inverse.data<T>(), dx.data<T>(),
                                    device_or_null<T>(dgamma), device_or_null<T>(dbeta), work.data<T>());
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
