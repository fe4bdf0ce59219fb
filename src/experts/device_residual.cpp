#include "src/experts/device_residual.hpp"

#include "src/tensor/ops.hpp"

namespace rankine {
namespace {

template <class T>
Tensor on_device(const std::vector<T>& values) {
  return Tensor::from(values, {static_cast<std::int64_t>(values.size())});
}

}  // namespace

bool DeviceResidual::fits(const StorageProblem& problem, Weighting weighting) {
  const ConservativeScheme& scheme = problem.scheme();
  const LinearMarch* march = problem.weight(weighting);
  return scheme.linear_flux() != nullptr && scheme.unknowns() == 1 && scheme.space().grid().axes() == 1 &&
         !scheme.pde().periodic(0) && scheme.pde().has_device_storage() &&
         (march == nullptr || (problem.march_options().frozen() && march->tridiagonal() != nullptr));
}

DeviceResidual::DeviceResidual(const StorageProblem& problem, Weighting weighting)
    : scheme_(problem.shared_scheme()) {
  std::vector<double> now, before;
  for (int j = 0; j < scheme_->frames(); ++j) {
    now.push_back(scheme_->now(j));
    before.push_back(scheme_->before(j));
  }
  stencil_ = on_device(scheme_->linear_flux()->stencil.values);
  constant_ = on_device(scheme_->linear_flux()->constant);
  now_ = on_device(now);
  before_ = on_device(before);
  linear_ = {scheme_->frames(),        scheme_->cells(),    scheme_->scale(),      stencil_.data<double>(),
             constant_.data<double>(), now_.data<double>(), before_.data<double>()};
  const LinearMarch* weight = problem.weight(weighting);
  if (weight == nullptr) return;
  const kernels::TridiagonalMarch& march = *weight->tridiagonal();
  factor_of_frame_ = on_device(march.factor_of_frame);
  history_of_frame_ = on_device(march.history_of_frame);
  for (const bool backward : {false, true}) {
    const kernels::TridiagonalFactors& factors = backward ? march.transposed_factors : march.factors;
    const kernels::TridiagonalBands& history = backward ? march.transposed_history : march.history;
    Direction& to = march_.emplace_back(Direction{on_device(factors.down),
                                                  on_device(factors.inverse_diagonal),
                                                  on_device(factors.up),
                                                  on_device(history.lower),
                                                  on_device(history.diagonal),
                                                  on_device(history.upper),
                                                  {}});
    to.march = {scheme_->frames(),
                scheme_->cells(),
                march.with_history,
                backward,
                to.down.data<double>(),
                to.inverse_diagonal.data<double>(),
                to.up.data<double>(),
                to.lower.data<double>(),
                to.diagonal.data<double>(),
                to.upper.data<double>(),
                factor_of_frame_.data<std::int32_t>(),
                history_of_frame_.data<std::int32_t>()};
  }
}

DeviceResidual::Norms DeviceResidual::norms(const Tensor& initial, const Tensor& u, bool gradient) const {
  const NoGrad off;
  const std::int64_t samples = u.extent(0), points = scheme_->points();
  const Tensor whole = concat({initial, u}, 1);
  const Tensor storage = Tensor::empty(whole.shape(), DType::f64),
               slope = Tensor::empty(whole.shape(), DType::f64);
  scheme_->pde().device_storage(whole.count(), whole.data<double>(), storage.data<double>(),
                                slope.data<double>(), {});
  Tensor r = Tensor::empty({points, samples}, DType::f64);
  kernels::linear_residual(linear_, samples, whole.data<double>(), storage.data<double>(), r.data<double>());
  const auto weigh = [&](const Direction& direction) {
    kernels::tridiagonal_march(direction.march, static_cast<int>(samples), r.data<double>(),
                               r.data<double>());
  };
  if (!march_.empty()) weigh(march_[0]);
  Norms out{Tensor::empty({samples}, DType::f64), {}};
  const Tensor inverse = Tensor::empty({samples}, DType::f64);
  kernels::column_lengths(points, samples, r.data<double>(), out.values.data<double>(),
                          inverse.data<double>());
  if (!gradient) return out;
  r = mul(r, inverse);
  if (!march_.empty()) weigh(march_[1]);
  out.gradient = Tensor::empty(u.shape(), DType::f64);
  kernels::linear_residual_transposed(linear_, samples, slope.data<double>(), r.data<double>(),
                                      out.gradient.data<double>());
  return out;
}

}  // namespace rankine
