#include "src/experiments/chain.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "src/chain/diagnostics.hpp"
#include "src/comm/tiles.hpp"
#include "src/core/memory.hpp"
#include "src/core/statistics.hpp"

namespace rankine {

using Yields = ChainKernel::Yields;

struct Chains::Record {
  std::span<double> x, draws;
  double &sweeps, &accepted, &progress, &settled;
};

void ChainOptions::options(OptionVisitor& o) {
  o("chains", chains, {.help = "dealt to ranks; part of the result, unlike the number of ranks", .min = 1});
  o("sweeps", sweeps, {.help = "of each chain; of kernels that settle, at most", .min = 1, .max = 4e9});
  o("burn_in", burn_in, {.help = "sweeps before the first sample", .min = 0});
  o("thin", thin, {.help = "sweeps from one sample to the next", .min = 1});
  o("rounds", rounds, {.help = "parts of the sweeps; checkpoints lie between them", .min = 1});
  o("change", change, {.help = "a chain has settled where what it climbs changes less in a sweep", .min = 0});
  o("look_every", look_every,
    {.help = "sweeps between two looks at whether it has, which may cost as much as a sweep", .min = 1});
}

void Chains::describe(OptionVisitor& o) {
  ChainOptions chain;
  o.group("chain", chain,
          "the chains; also `kernel`, see `rankine list chain_kernel`, and beside `chain` the section "
          "`target`, see `rankine list target`");
}

Chains::Chains(const DeckNode& variant, const ExperimentSetup& setup) : variant_(setup.variant) {
  target_ = chain_targets().make(variant.child("target"));
  observables_ = target_->observables();
  const DeckNode chain = variant.section("chain"), kernel = chain.child("kernel");
  kernel_ = chain_kernels().make(kernel);
  try {
    kernel_->check(*target_);
  } catch (const InputError& error) {
    kernel.error(error.what());
  }
  chain.read(options_);
  const ChainOptions& o = options_;
  if (kernel_->yields() == Yields::samples ? o.burn_in >= o.sweeps : o.burn_in != 0)
    chain.error_at("burn_in", fmt::format("burn_in: {} of {} sweeps leaves no sample; kernels that draw none "
                                          "want 0, others less than the sweeps",
                                          o.burn_in, o.sweeps));
  if (o.burn_in % o.thin != 0 || (o.sweeps - o.burn_in) % o.thin != 0)
    chain.error_at("thin", fmt::format("thin: {} does not divide burn_in ({}) and sweeps ({})", o.thin,
                                       o.burn_in, o.sweeps));
  if (kernel_->yields() == Yields::parts && o.chains != 1)
    chain.error_at("chains", fmt::format("chains: {}, but this kernel goes through all states itself; "
                                         "use 1, and more sweeps for more parts",
                                         o.chains));
  if (o.rounds > o.sweeps)
    chain.error_at("rounds", fmt::format("rounds: {} is more than the {} sweeps", o.rounds, o.sweeps));
  variant.reject_unread_keys();
}

std::int64_t Chains::rows() const {
  switch (kernel_->yields()) {
    case Yields::samples:
      return (options_.sweeps - options_.burn_in) / options_.thin;
    case Yields::state:
      return 1;
    case Yields::parts:
      return options_.sweeps;
  }
  return 0;
}

std::vector<MetricInfo> Chains::metrics() const {
  std::vector<MetricInfo> out = observables_;
  const auto add = [&](const char* name, const char* help, bool may_be_nan = false) {
    out.push_back({name, "1", help, false, may_be_nan});
  };
  switch (kernel_->yields()) {
    case Yields::samples:
      for (const MetricInfo& of : observables_)
        out.push_back({of.name + "_error", of.unit, "standard error of " + of.name, false, true});
      add("ess", "effective number of samples, the smallest over the observables", true);
      add("r_hat", "how much wider all chains are than each; 1: mixed. The largest over the observables",
          true);
      add("accepted", "part of the moves that were accepted");
      break;
    case Yields::state:
      add("sweeps", "sweeps of a chain, mean");
      add("settled", "part of the chains that settled");
      if (MetricInfo info = kernel_->progress_metric(); !info.name.empty()) out.push_back(info);
      break;
    case Yields::parts:
      add("log_partition", "logarithm of the sum of exp(-energy) over all states");
      break;
  }
  out.push_back({"peak_memory", "B", "largest memory of a rank", true});
  return out;
}

RunEstimate Chains::estimate() const {
  RunEstimate e;
  e.partition = fmt::format("{} chains of {} sweeps", options_.chains, options_.sweeps);
  const double chains = options_.chains, sweeps = static_cast<double>(options_.sweeps);
  const double draws = 8 * static_cast<double>(rows()) * static_cast<double>(row_size());
  e.bytes_per_rank = 64e6 + chains * (target_->bytes() + draws);
  const double states =
      kernel_->yields() == Yields::parts ? std::ldexp(1.0, static_cast<int>(target_->size())) / sweeps : 1;
  e.seconds_per_seed = chains * sweeps * states * target_->seconds_of_sweep();
  e.file_bytes = static_cast<std::uint64_t>(4000 + 100 * chains * static_cast<double>(observables_.size()));
  return e;
}

void Chains::advance(ChainProblem& problem, Record chain, std::int64_t number, std::uint64_t seed,
                     std::int64_t until) const {
  const RandomStream random(seed, "chain/moves");
  const std::size_t observables = observables_.size(), row = row_size();
  std::vector<double> values(observables);
  ChainSweep sweep{0, options_.sweeps, number, random, values};
  while (chain.sweeps < static_cast<double>(until) && chain.settled == 0) {
    sweep.number = static_cast<std::int64_t>(chain.sweeps);
    chain.accepted += kernel_->sweep(problem, chain.x, sweep);
    chain.sweeps += 1;
    const std::int64_t done = sweep.number + 1;
    if (settles()) {
      if (done % options_.look_every != 0) continue;
      const double before = std::exchange(chain.progress, kernel_->progress(problem, chain.x));
      if (std::abs(chain.progress - before) < options_.look_every * options_.change) chain.settled = 1;
      continue;
    }
    if (done <= options_.burn_in || (done - options_.burn_in) % options_.thin != 0) continue;
    if (kernel_->yields() == Yields::samples) problem.measure(chain.x, values);
    const std::int64_t kept = (done - options_.burn_in) / options_.thin - 1;
    const std::span<double> to = chain.draws.subspan(static_cast<std::size_t>(kept) * row, row);
    std::copy(values.begin(), values.end(), to.begin());
    to[observables] = sweep.log_weight;
  }
  if (!std::all_of(chain.x.begin(), chain.x.end(), [](double v) { return std::isfinite(v); }))
    throw NumericalError(fmt::format(
        "variant {}, chain {}: a number of the state is not finite after sweep {}; take a smaller step",
        variant_, number, chain.sweeps));
}

Metrics Chains::run(RunContext& context) {
  const Communicator& communicator = context.communicator;
  const auto seed = static_cast<std::uint64_t>(context.seed);
  const BlockPartition dealt(options_.chains, communicator.size());
  const std::int64_t first = dealt.begin(communicator.rank());
  const auto local = static_cast<std::size_t>(dealt.size(communicator.rank())), size = target_->size(),
             of_draws = static_cast<std::size_t>(rows()) * row_size();
  std::vector<double> x, draws(local * of_draws, 0.0), sweeps(local, 0.0), accepted(local, 0.0),
      settled(local, 0.0), progress(local, -HUGE_VAL);
  std::vector<std::unique_ptr<ChainProblem>> problems;
  communicator.together([&] {
    for (std::size_t c = 0; c < local; ++c) {
      problems.push_back(target_->make(seed, first + static_cast<std::int64_t>(c)));
      const std::vector<double> start = problems.back()->start();
      x.insert(x.end(), start.begin(), start.end());
    }
  });
  StateRegistry& state = context.checkpoint.state();
  state.add("chains/x", StateKind::per_tile, x);
  state.add("chains/draws", StateKind::per_tile, draws);
  state.add("chains/sweeps", StateKind::per_tile, sweeps);
  state.add("chains/accepted", StateKind::per_tile, accepted);
  state.add("chains/settled", StateKind::per_tile, settled);
  state.add("chains/progress", StateKind::per_tile, progress);
  const auto record = [&](std::size_t c) {
    return Record{std::span(x).subspan(c * size, size),
                  std::span(draws).subspan(c * of_draws, of_draws),
                  sweeps[c],
                  accepted[c],
                  progress[c],
                  settled[c]};
  };
  const std::int64_t rounds = options_.rounds;
  for (std::int64_t round = context.checkpoint.resume(); round < rounds; ++round) {
    context.checkpoint.between_steps(round, rounds);
    const std::int64_t until = (round + 1) * options_.sweeps / rounds;
    for (std::int64_t c = 0; c < dealt.size(0); ++c) {  // no rank has more chains than the first
      // The state of a chain has the number of its sweeps: after a restart, a chain that is ahead waits.
      context.checkpoint.within_step(round, rounds);
      communicator.together([&] {
        const auto mine = static_cast<std::size_t>(c);
        if (mine < local) advance(*problems[mine], record(mine), first + c, seed, until);
      });
    }
  }
  context.checkpoint.between_steps(rounds, rounds);
  if (settles())
    communicator.together([&] {
      for (std::size_t c = 0; c < local; ++c)
        problems[c]->measure(record(c).x, record(c).draws.first(observables_.size()));
    });
  const auto gather = [&](const std::vector<double>& values) {
    return communicator.all_gather_varying(std::span<const double>(values));
  };
  Metrics out = summarise(context, gather(draws));
  const double moves = static_cast<double>(options_.sweeps);
  if (kernel_->yields() == Yields::samples) out.emplace_back("accepted", mean(gather(accepted)) / moves);
  if (settles()) {
    const std::vector<double> done = gather(sweeps);
    out.emplace_back("sweeps", mean(done));
    context.results.per_sample("sweeps", done, {.long_name = "sweeps of each chain"});
    out.emplace_back("settled", mean(gather(settled)));
    const std::string name = kernel_->progress_metric().name;
    communicator.together([&] {
      for (std::size_t c = 0; c < local && !name.empty(); ++c)
        progress[c] = kernel_->progress(*problems[c], record(c).x);
    });
    if (const std::vector<double> all = gather(progress); !name.empty())
      out.emplace_back(name, *std::max_element(all.begin(), all.end()));
  }
  out.emplace_back("peak_memory", static_cast<double>(communicator.max(peak_memory_bytes())));
  return out;
}

Metrics Chains::summarise(RunContext& context, std::span<const double> draws) const {
  const std::size_t observables = observables_.size(), row = row_size();
  const auto kept = static_cast<std::size_t>(rows()), chains = draws.size() / (kept * row);
  const auto column = [&](std::size_t v) {
    std::vector<double> out;
    for (std::size_t at = v; at < draws.size(); at += row) out.push_back(draws[at]);
    return out;
  };
  std::vector<double> weights = column(observables), means;
  const double largest = *std::max_element(weights.begin(), weights.end());
  double total = 0;
  for (double& w : weights) total += w = std::exp(w - largest);
  std::vector<double> errors, effective, wider;
  std::vector<std::string> names;
  for (std::size_t v = 0; v < observables; ++v) {
    const std::vector<double> values = column(v);
    std::vector<double> of_chains;
    for (std::size_t c = 0; c < chains; ++c)
      of_chains.push_back(mean(std::span(values).subspan(c * kept, kept)));
    if (kernel_->yields() == Yields::parts) {
      double sum = 0;
      for (std::size_t i = 0; i < values.size(); ++i) sum += weights[i] * values[i];
      of_chains = {sum / total};
    }
    names.push_back(observables_[v].name);
    means.push_back(mean(of_chains));
    context.results.per_sample(names.back(), of_chains, {.long_name = observables_[v].help});
    if (kernel_->yields() != Yields::samples) continue;
    const ChainDiagnosis found = diagnose(values, static_cast<std::int64_t>(chains));
    errors.push_back(found.standard_error);
    effective.push_back(found.ess);
    wider.push_back(found.r_hat);
  }
  Metrics out;
  for (std::size_t v = 0; v < observables; ++v) out.emplace_back(names[v], means[v]);
  if (kernel_->yields() == Yields::parts) out.emplace_back("log_partition", largest + std::log(total));
  if (kernel_->yields() != Yields::samples) return out;
  TableWriter table = context.results.table("diagnostics", {"observable", names});
  table.row(options_.sweeps, "mean", means);
  table.row(options_.sweeps, "standard_error", errors);
  table.row(options_.sweeps, "ess", effective);
  table.row(options_.sweeps, "r_hat", wider);
  for (std::size_t v = 0; v < observables; ++v) out.emplace_back(names[v] + "_error", errors[v]);
  const std::vector<double> of_ess = finite(effective), of_r_hat = finite(wider);
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  out.emplace_back("ess", of_ess.empty() ? nan : *std::min_element(of_ess.begin(), of_ess.end()));
  out.emplace_back("r_hat", of_r_hat.empty() ? nan : *std::max_element(of_r_hat.begin(), of_r_hat.end()));
  return out;
}

}  // namespace rankine
