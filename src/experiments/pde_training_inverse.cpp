// What observations add to the training of a PDE: where they come from, and the parameters learned from them.
#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "src/experiments/pde_training.hpp"

namespace rankine {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

}  // namespace

void PdeTraining::check_observations(const DeckNode& variant, const ExperimentSetup& setup) const {
  const ObservationOptions& data = data_.observations;
  if (!learned_.empty()) {
    const DeckNode learn = variant.section("learn");
    if (data.none())
      learn.error("learn: nothing tells the value of a parameter without data.observations; give some");
    if (formulation_.collocated())
      learn.error(
          "learn needs formulation.residual: storage: the collocated form is not differentiated by "
          "parameters of the PDE");
    if (formulation_.target() && formulation_.observations.corrections == 0)
      learn.error(
          "learn with constraint: target needs formulation.observations.corrections above 0: the target is "
          "held fixed, so that the data reach a parameter through a correction alone");
    if (formulation_.observations.weight == 0)
      learn.error("learn needs the observations in the loss; give a formulation.observations.weight above 0");
  } else if (train_.polish > 0) {
    variant.section("train").error_at(
        "polish", "polish moves learned parameters, and there is none; name one in learn, or leave it out");
  }
  if (data.none()) return;
  const DeckNode node = variant.section("data").section("observations");
  if (pde_->steady())
    node.error(
        "observations are points in time, which a steady problem does not have; leave data.observations out");
  if (pde_->axes() > 1)
    node.error("observations are points (t, x), and the equation has " + std::to_string(pde_->axes()) +
               " space axes; leave data.observations out");
  if (formulation_.collocated())
    node.error("observations need formulation.residual: storage; the collocated form has no place for them");
  if (formulation_.observations.weight == 0 && !formulation_.observations.rows)
    node.error(
        "observations are given, but neither the loss (formulation.observations.weight: 0) nor the experts "
        "(formulation.observations.rows: false) use them");
  if (data.seed < 0 && !data.write.empty() && setup.seeds.size() > 1 &&
      with_seed(data.write, setup.seeds[0]) == with_seed(data.write, setup.seeds[1])) {
    node.error_at("write",
                  fmt::format("write: {} is one file for {} seeds, each of which draws points of its own, so "
                              "that only the last ones would stay; use {{seed}} in the name, or give seed, "
                              "which all then draw with",
                              data.write, setup.seeds.size()));
  }
  if (data.source != "file") return;
  setup.communicator.on_root([&] {
    for (std::int64_t seed : setup.seeds) try {
        read_observations(with_seed(data.path, seed), *pde_, data.noise);
      } catch (const InputError& error) {
        node.error_at("path", error.what());
      }
  });
}

Observations PdeTraining::observe(const RunContext& context, const std::vector<double>& scales) const {
  const ObservationOptions& options = data_.observations;
  Observations out;
  context.communicator.on_root([&] {
    if (options.source == "file") {
      out = read_observations(with_seed(options.path, context.seed), *pde_, options.noise);
      return;
    }
    const auto seed = static_cast<std::uint64_t>(options.seed < 0 ? context.seed : options.seed);
    out = draw_observations(*pde_, options.points, options.noise, seed, pde_->data_cells(0),
                            [&](std::span<const double> times) {
                              return training_reference(data_, *pde_, options.sample, times);
                            });
    if (!options.write.empty()) write_observations(with_seed(options.write, context.seed), out, *pde_);
  });
  for (std::vector<double>* values : {&out.t, &out.x, &out.value, &out.sigma})
    context.communicator.broadcast(*values);
  context.communicator.broadcast(out.unknown);
  for (int i = 0; i < out.size(); ++i)
    for (double* value : {&out.value[i], &out.sigma[i]}) *value /= scales[out.unknown[i]];
  return out;
}

std::shared_ptr<const ObservationRows> PdeTraining::observation_rows(const Observations& observations) const {
  return std::make_shared<const ObservationRows>(
      ObservationOperator(*pde_, times_, space().cells(), observations.t, observations.x,
                          observations.unknown),
      observations, space().cells() * pde_->unknowns());
}

std::vector<double> PdeTraining::parameter_bounds(const StorageModel& model, const PdeData& data,
                                                  const ObservationRows& observations,
                                                  MissingMetrics& missing) const {
  const PdeBatch batch = make_batch(data.train, {data_.observations.sample}, 0, true);
  std::vector<double> bounds(learned_.size(), nan);
  const auto miss = [&](int l, const std::string& why) {
    missing.add("learned_" + learned_.names()[l] + "_crb", batch.ids.front(), why);
  };
  try {
    bounds = cramer_rao_bound(
        model.sample(batch.initial, learned_.insert(batch.parameters, learned_.truth())), observations);
    for (int l = 0; l < learned_.size(); ++l)
      if (!std::isfinite(bounds[l]))
        miss(l, "the observations do not tell the learned parameters apart (a singular information matrix)");
  } catch (const NumericalError& error) {
    for (int l = 0; l < learned_.size(); ++l) miss(l, error.what());
  }
  return bounds;
}

Metrics PdeTraining::finish_inverse(ParameterSet& parameters, ConstraintLayer& layer,
                                    const StorageModel& model, const PdeData& data,
                                    const std::shared_ptr<const ObservationRows>& observations,
                                    const Communicator& communicator, const std::function<void()>& between,
                                    std::span<const double> bounds, MissingMetrics& missing) const {
  const NoGrad off;
  const long which = data_.observations.sample, width = model.width();
  PdeBatch batch = make_batch(data.train, {which}, 0, true, observations);
  const std::vector<double> trained = learned_.values(parameters);
  std::vector<double> values = trained, u;
  double misfit = nan;
  std::string lost;
  try {
    const BoundParameters bound = parameters.bind(model_context_->tiles);
    batch.learned = learned_.values(bound);
    // One sample: one rank has its solution, and all take it.
    const std::vector<double> mine = layer.predict(network_fields(bound, network_input(batch)), batch);
    u = communicator.all_gather_varying(std::span<const double>(mine));
    std::copy_n(batch.initial.begin(), width, u.begin());
    if (train_.polish > 0) {
      // All ranks compute the same.
      values = refine_parameters(model, {batch.initial, batch.parameters}, learned_, *observations,
                                 train_.polish, trained, u, between);
      learned_.assign(values, parameters);
      values = learned_.values(parameters);
    }
    misfit = observations->root_mean_square(u, {});
    if (!std::isfinite(misfit)) lost = "its value is not finite";
  } catch (const SharedNumericalError& error) {
    lost = error.own;
  } catch (const NumericalError& error) {
    lost = error.what();
  }
  if (!lost.empty()) missing.add("observation_misfit", batch.ids.front(), lost);
  Metrics out{{"observation_misfit", misfit}};
  for (int l = 0; l < learned_.size(); ++l) {
    const std::string name = "learned_" + learned_.names()[l];
    const double truth = learned_.truth()[l];
    // What could not be polished is not what the deck asks for.
    if (!lost.empty() && train_.polish > 0) {
      values[l] = nan;
      for (const char* part : {"", "_error", "_deviation"}) missing.add(name + part, batch.ids.front(), lost);
    }
    out.emplace_back(name, values[l]);
    out.emplace_back(name + "_error", std::abs(values[l] - truth) / std::abs(truth));
    out.emplace_back(name + "_deviation", (values[l] - truth) / truth);
    out.emplace_back(name + "_error_trained", std::abs(trained[l] - truth) / std::abs(truth));
    out.emplace_back(name + "_crb", bounds[l]);
  }
  return out;
}

}  // namespace rankine
