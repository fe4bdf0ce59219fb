#include "src/experts/storage_ops.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "src/tensor/op_support.hpp"

namespace rankine {
namespace {

Shape shape_of_u(const StorageBatch& batch) {
  const StorageModel& model = batch.setup().model;
  return {batch.local(), model.frames(), model.width()};
}

/// The sample's part of a gradient by `whole`.
std::span<double> basis_part(HostArray<double>& out, const StorageBatch& batch, std::int64_t s) {
  const long size = batch.setup().model.points() * batch.options().basis;
  return {out.data() + s * size, static_cast<size_t>(size)};
}

/// The sample's part of a gradient by the learned parameters, [local sample][parameter].
std::span<double> learned_part(std::vector<double>& all, const StorageBatch& batch, std::int64_t s) {
  const size_t count = batch.setup().learned.size();
  return std::span(all).subspan(s * count, count);
}

/// [local sample][cell].
Tensor initial_states(const StorageBatch& batch) {
  const std::int64_t width = batch.setup().model.width();
  const auto first = batch.batch().initial.begin() + batch.first() * width;
  return Tensor::from(std::vector<double>(first, first + batch.local() * width), {batch.local(), width});
}

/// Of solves that have ended, each with a report.
Tensor solved_at_once(const SharedBatch& batch, const Tensor& whole,
                      const std::shared_ptr<DeviceSolves>& solves) {
  for (std::int64_t s = 0; s < batch->local(); ++s) {
    batch->reports.push_back(solves->reports(s));
    batch->coefficients.push_back(solves->coefficients(s));
  }
  const Tensor u = solves->solution();
  batch->check_solves();
  return apply_op("constrained_solution", {whole}, u,
                  [batch, solves](const std::vector<Tensor>& bar, const VjpContext&) {
                    Tensor out = solves->pull_back(dense(bar[0]));
                    std::vector<std::int64_t> skipped;
                    for (std::int64_t s = 0; s < batch->local(); ++s) {
                      batch->reports[s] = solves->reports(s);
                      if (batch->skipped(s)) skipped.push_back(s);
                    }
                    batch->check_solves();
                    for (const std::int64_t s : skipped)
                      out = concat(
                          {slice(out, 0, 0, s), Tensor::zeros(slice(out, 0, s, s + 1).shape(), DType::f64),
                           slice(out, 0, s + 1, batch->local())},
                          0);
                    return std::vector<Tensor>{out};
                  },
                  {.first_order_only = true});
}

}  // namespace

Tensor constrained_solution(const SharedBatch& batch, const Tensor& whole,
                            const std::shared_ptr<const DeviceExperts>& device) {
  const Region<"constrained_solution"> region;
  if (device != nullptr) {
    const auto solves = std::make_shared<DeviceSolves>(device, dense(whole.detach()), initial_states(*batch));
    if (solves->solve(batch->problems())) return solved_at_once(batch, whole, solves);
  }
  const StorageMixture& mixture = *batch->setup().mixture;
  HostArray<double> solved_u(shape_of_u(*batch));
  auto solutions = std::make_shared<std::vector<MixtureSolution>>();
  {
    const HostRead<double> basis(whole);
    batch->each_sample([&](std::int64_t s) {
      solutions->push_back(mixture.solve(batch->problems()[s], batch->basis_of(basis, s),
                                         batch->sampled_rows(s), batch->observed_rows(s)));
      batch->keep(solutions->back(), solved_u, s);
    });
  }
  const Tensor u = solved_u.to_device();
  batch->check_solves();
  return apply_op(
      "constrained_solution", batch->with_learned(whole), u,
      [batch, solutions, whole = whole.detach()](const std::vector<Tensor>& bar, const VjpContext&) {
        HostArray<double> out(whole.shape());
        out.fill(0);
        const Tensor from = bar[0].contiguous() ? bar[0] : bar[0].clone();
        const HostRead<double> u_bar(from), basis(whole);
        std::vector<double> by_sample(whole.extent(0) * batch->setup().learned.size());
        batch->each_sample([&](std::int64_t s) {
          const std::span<double> by_parameter = learned_part(by_sample, *batch, s);
          const std::span<double> to = basis_part(out, *batch, s);
          MixtureSolution& solved = (*solutions)[s];
          batch->setup().mixture->pull_back(batch->problems()[s], batch->basis_of(basis, s), solved,
                                            batch->field(u_bar, s), to, by_parameter);
          batch->reports[s] = solved.reports;
          if (!batch->skipped(s)) return;
          std::fill(to.begin(), to.end(), 0.0);
          std::fill(by_parameter.begin(), by_parameter.end(), 0.0);
        });
        batch->check_solves();
        std::vector<Tensor> gradients{out.to_device()};
        batch->add_learned_gradient(by_sample, gradients);
        return gradients;
      },
      {.first_order_only = true});
}

Tensor fitted_solution(const SharedBatch& batch, const Tensor& whole) {
  const Region<"fitted_solution"> region;
  const StorageMixture& mixture = *batch->setup().mixture;
  const FormulationOptions& o = batch->options();
  HostArray<double> fitted_u(shape_of_u(*batch));
  auto solutions = std::make_shared<std::vector<MixtureSolution>>();
  {
    const HostRead<double> basis(whole);
    batch->each_sample([&](std::int64_t s) {
      const StorageProblem& sample = batch->problems()[s];
      std::vector<double> state = batch->own_prediction(basis, s), target;
      MixtureSolution solved;
      for (int fit = 0; fit < o.target_fits; ++fit) {
        target = batch->corrected_target(s, state);
        solved = mixture.fit(sample, batch->basis_of(basis, s), target, o.target_ridge);
        state.assign(solved.u.begin() + sample.width(), solved.u.end());
      }
      solutions->push_back(std::move(solved));
      batch->targets.push_back(std::move(target));
      batch->keep(solutions->back(), fitted_u, s);
    });
  }
  const Tensor u = fitted_u.to_device();
  batch->check_solves();
  return apply_op(
      "fitted_solution", {whole}, u,
      [batch, solutions, whole = whole.detach()](const std::vector<Tensor>& bar, const VjpContext&) {
        HostArray<double> out(whole.shape());
        out.fill(0);
        const Tensor from = bar[0].contiguous() ? bar[0] : bar[0].clone();
        const HostRead<double> u_bar(from), basis(whole);
        for (std::int64_t s = 0; s < whole.extent(0); ++s) {
          if (batch->skipped(s)) continue;
          batch->setup().mixture->pull_back_fit(batch->basis_of(basis, s), batch->targets[s], (*solutions)[s],
                                                batch->options().target_ridge, batch->field(u_bar, s),
                                                basis_part(out, *batch, s));
        }
        return std::vector<Tensor>{out.to_device()};
      },
      {.first_order_only = true});
}

Tensor corrected_solution(const SharedBatch& batch, const Tensor& u, const CorrectionOptions& options) {
  const Region<"corrected_solution"> region;
  HostArray<double> corrections(u.shape());
  auto states = std::make_shared<std::vector<std::vector<std::vector<double>>>>(u.extent(0));
  {
    const HostRead<double> values(u);
    batch->each_sample([&](std::int64_t s) {
      const StorageProblem& sample = batch->problems()[s];
      std::vector<double> full = sample.whole(batch->field(values, s));
      sample.correct_steps(full, options, (*states)[s]);
      std::copy(full.begin() + sample.width(), full.end(),
                corrections.data() + s * batch->setup().model.points());
    });
  }
  const Tensor out = corrections.to_device();
  return apply_op("corrected_solution", batch->with_learned(u), out,
                  [batch, states, options](const std::vector<Tensor>& bar, const VjpContext&) {
                    Tensor u_bar = bar[0].clone();
                    std::vector<double> by_sample(u_bar.extent(0) * batch->setup().learned.size());
                    {
                      const long points = batch->setup().model.points();
                      const HostUpdate<double> values(u_bar);
                      batch->each_sample([&](std::int64_t s) {
                        batch->problems()[s].correct_transpose((*states)[s], options,
                                                               std::span(values.get() + s * points, points),
                                                               learned_part(by_sample, *batch, s));
                      });
                    }
                    std::vector<Tensor> gradients{u_bar};
                    batch->add_learned_gradient(by_sample, gradients);
                    return gradients;
                  },
                  {.first_order_only = true});
}

Tensor residual_norms(const SharedBatch& batch, const Tensor& u, const DeviceResidual* device) {
  const Region<"residual_norm"> region;
  const std::int64_t local = u.extent(0);
  const bool record = would_record(batch->with_learned(u));
  const StorageModel& model = batch->setup().model;
  if (device != nullptr) {
    const Tensor initial = reshape(initial_states(*batch), {local, 1, model.width()});
    const DeviceResidual::Norms norms = device->norms(initial, dense(u), record);
    return apply_op("residual_norm", {u}, norms.values,
                    [u_bar = norms.gradient](const std::vector<Tensor>& bar, const VjpContext&) {
                      return std::vector<Tensor>{mul(u_bar, reshape(bar[0], {bar[0].count(), 1, 1}))};
                    },
                    {.first_order_only = true});
  }
  // The gradient is at hand with the value, so it is formed at once.
  std::vector<double> norms(local);
  HostArray<double> derivative(record ? u.shape() : Shape{0});
  derivative.fill(0);
  std::vector<double> learned_bar(record ? local * batch->setup().learned.size() : 0);
  {
    const HostRead<double> values(u);
    batch->each_sample([&](std::int64_t s) {
      const StorageProblem& sample = batch->problems()[s];
      const long points = model.points();
      norms[s] = sample.residual_norm(
          batch->options().loss_weighting(), sample.whole(batch->field(values, s)),
          record ? std::span<double>(derivative.data() + s * points, points) : std::span<double>(),
          record ? learned_part(learned_bar, *batch, s) : std::span<double>());
    });
  }
  return apply_op("residual_norm", batch->with_learned(u), Tensor::from(norms, {local}),
                  [batch, u_bar = derivative.to_device(), learned_bar](const std::vector<Tensor>& bar,
                                                                       const VjpContext&) {
                    Tensor out = u_bar.clone();
                    std::vector<double> by_sample(learned_bar);
                    const long points = batch->setup().model.points();
                    {
                      const HostRead<double> factors(bar[0]);
                      const HostUpdate<double> values(out);
                      for (std::int64_t s = 0; s < out.extent(0); ++s) {
                        const double factor = factors[s];
                        for (long p = 0; p < points; ++p) values[s * points + p] *= factor;
                        for (double& value : learned_part(by_sample, *batch, s)) value *= factor;
                      }
                    }
                    std::vector<Tensor> gradients{out};
                    batch->add_learned_gradient(by_sample, gradients);
                    return gradients;
                  },
                  {.first_order_only = true});
}

Tensor observation_misfits(const SharedBatch& batch, const Tensor& u) {
  const Region<"observation_misfit"> region;
  const std::int64_t local = u.extent(0);
  const long points = batch->setup().model.points();
  const double weight = batch->options().observations.weight;
  std::vector<double> misfits(local);
  HostArray<double> derivative(u.shape());
  derivative.fill(0);
  {
    const HostRead<double> values(u);
    for (std::int64_t s = 0; s < local; ++s) {
      const ObservationRows* rows = batch->batch().observations[batch->first() + s].get();
      if (!rows) continue;
      const std::span<double> gradient(derivative.data() + s * points, points);
      misfits[s] =
          weight * rows->root_mean_square(batch->problems()[s].whole(batch->field(values, s)), gradient);
      for (double& g : gradient) g *= weight;
    }
  }
  return apply_op(
      "observation_misfit", {u}, Tensor::from(misfits, {local}),
      [u_bar = derivative.to_device(), points](const std::vector<Tensor>& bar, const VjpContext&) {
        Tensor out = u_bar.clone();
        {
          const HostRead<double> factors(bar[0]);
          const HostUpdate<double> values(out);
          for (std::int64_t s = 0; s < out.extent(0); ++s)
            for (long p = 0; p < points; ++p) values[s * points + p] *= factors[s];
        }
        return std::vector<Tensor>{out};
      },
      {.first_order_only = true});
}

Tensor target_distances(const SharedBatch& batch, const Tensor& u_of_tape, const Tensor& whole_of_tape) {
  const Region<"target_distance"> region;
  const std::int64_t local = u_of_tape.extent(0);
  const StorageModel& model = batch->setup().model;
  const long points = model.points();
  const bool soft = batch->options().soft();
  std::vector<double> distances(local);
  const HostRead<double> u(u_of_tape), whole(whole_of_tape);
  // Derivatives of the distance by u and by b_0.
  std::vector<double> by_u(local * points), by_own(soft ? 0 : local * points);
  for (std::int64_t s = 0; s < local; ++s) {
    const std::vector<double>& target = batch->targets[s];
    const size_t sample = batch->first() + s, width = model.width();
    double size = 0;
    for (size_t i = 0; i < width; ++i)
      size += std::pow(batch->batch().initial[sample * width + i], 2) * model.frames();
    size = std::sqrt(std::max(size, std::inner_product(target.begin(), target.end(), target.begin(), 0.0)));
    if (!(size > 0)) size = 1;
    const auto add = [&](std::span<const double> v, double* gradient) {
      double sum = 0;
      for (long p = 0; p < points; ++p) sum += (v[p] - target[p]) * (v[p] - target[p]);
      const double length = std::sqrt(sum);
      for (long p = 0; p < points; ++p) gradient[p] = length > 0 ? (v[p] - target[p]) / (length * size) : 0;
      distances[s] += length / size;
    };
    add(batch->field(u, s), by_u.data() + s * points);
    if (!soft) add(batch->own_prediction(whole, s), by_own.data() + s * points);
  }
  std::vector<Tensor> inputs{u_of_tape};
  if (!soft) inputs.push_back(whole_of_tape);
  return apply_op("target_distance", inputs, Tensor::from(distances, {local}),
                  [by_u = std::move(by_u), by_own = std::move(by_own), soft, points,
                   basis = batch->options().basis, u_shape = u_of_tape.shape(),
                   shape = whole_of_tape.shape()](const std::vector<Tensor>& bar, const VjpContext&) {
                    HostArray<double> u_bar(u_shape), whole_bar(soft ? Shape{0} : shape);
                    whole_bar.fill(0);
                    const HostRead<double> factors(bar[0]);
                    for (std::int64_t s = 0; s < u_shape[0]; ++s) {
                      const double factor = factors[s];
                      for (long p = 0; p < points; ++p) {
                        u_bar[s * points + p] = factor * by_u[s * points + p];
                        if (!soft) whole_bar[(s * points + p) * basis] = factor * by_own[s * points + p];
                      }
                    }
                    std::vector<Tensor> gradients{u_bar.to_device()};
                    if (!soft) gradients.push_back(whole_bar.to_device());
                    return gradients;
                  },
                  {.first_order_only = true});
}

}  // namespace rankine
