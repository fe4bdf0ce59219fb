#include "src/train/gradient_health.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "src/optim/optimizer.hpp"
#include "src/tensor/op_support.hpp"
#include "src/tensor/profile.hpp"

namespace rankine {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// The axis of a sample along which units lie: channels of images, the last one of all else.
int unit_axis(const Shape& sample) { return sample.rank() == 3 ? 0 : sample.rank() - 1; }

std::int64_t unit_count(const Shape& sample) { return sample.rank() == 0 ? 1 : sample[unit_axis(sample)]; }

}  // namespace

void HealthOptions::options(OptionVisitor& o) {
  o("every", every,
    {.help = "steps between two measurements of the blocks (0: none)", .unit = "steps", .min = 0});
  o("vanishing", vanishing,
    {.help =
         "alarm where a block's gradient, root mean square over its parameters, is below this part of the "
         "largest block's",
     .min = 0});
  o("exploding", exploding, {.help = "alarm where the norm of a block's gradient is above this", .min = 0});
  o("dead", dead,
    {.help = "alarm where more than this share of a block's units are dead", .min = 0, .max = 1});
}

GradientHealth::GradientHealth(const HealthOptions& options, const Network& network,
                               const ParameterSet& parameters, const RuleSetup& setup,
                               const LearningRule& rule, RunContext& context)
    : options_(options),
      parameters_(parameters),
      setup_(setup),
      rule_(rule),
      context_(context),
      shards_(setup.shards),
      samples_(static_cast<double>(setup.batch)) {
  context.checkpoint.state().add("metrics/health_alarms", StateKind::replicated, alarms_);
  std::vector<std::string> names;
  for (int i = 0; i < network.size(); ++i) names.push_back(network.block(i).name());
  if (options.every > 0) table_ = context.results.table("blocks", {"block", names});
  for (int i = 0; i < network.size(); ++i) {
    Block block{.name = network.block(i).name(),
                .begin = 0,
                .end = 0,
                .units = unit_count(network.block(i).output()),
                .square = {},
                .gradient_square = {},
                .absolute = {}};
    for (const ParameterInfo& part : parameters.parts()) {
      if (part.name.rfind(block.name + ".", 0) != 0) continue;
      if (block.end == 0) block.begin = part.offset;
      block.end = part.offset + part.shape.count();
    }
    blocks_.push_back(std::move(block));
  }
}

std::size_t GradientHealth::place(std::size_t& next, std::size_t shards) const {
  if (next + shards > static_cast<std::size_t>(shards_->local_tiles())) next = 0;
  return std::exchange(next, next + shards);
}

void GradientHealth::observe(Block& block, const Tensor& value) const {
  StepPart<"gradient_health"> part;
  const auto shards = static_cast<std::size_t>(value.extent(0));
  const Tensor x = dense(cast(value.detach(), DType::f64));
  const std::int64_t per_shard = x.count() / static_cast<std::int64_t>(shards);
  Shape sample = value.shape();
  sample.erase(0);
  sample.erase(0);
  std::int64_t inner = 1;
  for (int axis = unit_axis(sample) + 1; axis < sample.rank(); ++axis) inner *= sample[axis];
  const std::int64_t units = unit_count(sample);
  block.units = units;
  const auto all = static_cast<std::size_t>(shards_->local_tiles());
  const std::size_t first = place(block.next, shards);
  block.square.resize(all);
  block.absolute.resize(all * static_cast<std::size_t>(units));
  const HostRead<double> values(x);
  for (std::size_t l = 0; l < shards; ++l) {
    const double* p = values.get() + static_cast<std::int64_t>(l) * per_shard;
    double* sums = block.absolute.data() + (first + l) * static_cast<std::size_t>(units);
    std::fill_n(sums, units, 0.0);
    double& square = block.square[first + l] = 0;
    for (std::int64_t i = 0; i < per_shard; ++i) {
      square += p[i] * p[i];
      sums[i / inner % units] += std::abs(p[i]);
    }
  }
  block.count = static_cast<double>(per_shard);
  part.done();
}

void GradientHealth::before(std::int64_t) {
  before_ = parameters_.flat().clone();
  for (Block& block : blocks_) {
    block.count = block.gradient_count = 0;
    block.next = block.gradient_next = 0;
  }
}

void GradientHealth::watch(Pass& pass) {
  pass.hooks.emplace_back([this](const std::string& name, const Tensor&, const Tensor& value) {
    const auto block =
        std::find_if(blocks_.begin(), blocks_.end(), [&](const Block& b) { return b.name == name; });
    if (block == blocks_.end()) return Tensor();
    observe(*block, value);
    if (!value.on_tape()) return Tensor();
    on_gradient(value, [this, &target = *block](const Tensor& gradient) {
      StepPart<"gradient_health"> part;
      const Tensor g = dense(cast(gradient.detach(), DType::f64));
      const auto shards = static_cast<std::size_t>(g.extent(0));
      const std::int64_t per_shard = g.count() / static_cast<std::int64_t>(shards);
      const std::size_t first = place(target.gradient_next, shards);
      target.gradient_square.resize(static_cast<std::size_t>(shards_->local_tiles()));
      std::vector<FlatParts::Part> parts;
      for (std::int64_t at = 0; at < g.count(); at += per_shard) parts.push_back({at, at + per_shard});
      const std::vector<double> squares = FlatParts(std::move(parts)).sums_of_squares(reshape(g, {-1}));
      std::copy(squares.begin(), squares.end(),
                target.gradient_square.begin() + static_cast<std::ptrdiff_t>(first));
      target.gradient_count = static_cast<double>(per_shard);
      part.done();
      return Tensor();
    });
    return Tensor();
  });
}

void GradientHealth::alarm(Alarm kind, std::size_t block, std::int64_t step, double value) {
  const auto number = static_cast<std::int64_t>(block) * kinds + kind;
  if (std::find(alarms_.begin(), alarms_.end(), number) != alarms_.end()) return;
  alarms_.push_back(number);
  constexpr const char* names[] = {"exploding gradient", "vanishing gradient", "dead units"};
  context_.log.line(fmt::format("step {}: {} in {}: {:.3g}", step, names[kind], blocks_[block].name, value));
}

void GradientHealth::after(std::int64_t step, const StepOutcome& outcome) {
  const Tensor& gradient = outcome.gradient;
  const std::int64_t local = shards_->local_tiles();
  // One row a shard: for each block the two sums, the counts, and the sums of its units.
  std::int64_t width = 0;
  for (const Block& block : blocks_) width += 4 + block.units;
  std::vector<double> rows(static_cast<std::size_t>(local * width)), total(static_cast<std::size_t>(width));
  for (std::int64_t l = 0; l < local; ++l) {
    double* row = rows.data() + l * width;
    for (const Block& block : blocks_) {
      const auto at = static_cast<std::size_t>(l);
      if (block.count > 0) {
        row[0] = block.square[at];
        row[1] = block.count;
        std::copy_n(block.absolute.data() + l * block.units, block.units, row + 4);
      }
      if (block.gradient_count > 0) {
        row[2] = block.gradient_square[at];
        row[3] = block.gradient_count;
      }
      row += 4 + block.units;
    }
  }
  shards_->sum(std::span<const double>(rows), std::span<double>(total));

  std::vector<double> activation, activation_gradient, dead, norm, rms, ratio;
  const double* row = total.data();
  const Tensor change = sub(parameters_.flat().detach(), before_);
  std::vector<FlatParts::Part> parts;
  for (const Block& block : blocks_) parts.push_back({block.begin, block.end});
  const FlatParts by_block(std::move(parts));
  const std::vector<double> sizes = by_block.sums_of_squares(before_),
                            changes = by_block.sums_of_squares(change),
                            squares = gradient.defined() ? by_block.sums_of_squares(gradient)
                                                         : std::vector<double>();
  for (std::size_t b = 0; b < blocks_.size(); ++b) {
    const Block& block = blocks_[b];
    activation.push_back(row[1] > 0 ? std::sqrt(row[0] / row[1]) : nan);
    activation_gradient.push_back(row[3] > 0 ? samples_ * std::sqrt(row[2] / row[3]) : nan);
    const double zeros = static_cast<double>(std::count(row + 4, row + 4 + block.units, 0.0));
    dead.push_back(row[1] > 0 ? zeros / static_cast<double>(block.units) : nan);
    const bool learns = block.end > block.begin;
    norm.push_back(learns && gradient.defined() ? std::sqrt(squares[b]) : nan);
    rms.push_back(norm.back() /
                  std::sqrt(static_cast<double>(std::max<std::int64_t>(block.end - block.begin, 1))));
    ratio.push_back(learns ? std::sqrt(changes[b]) / std::sqrt(sizes[b]) : nan);
    row += 4 + block.units;
  }
  if (rule_.spreads_blocks()) {
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
      const int owner = rule_.owner_of_block(static_cast<int>(i));
      double values[] = {activation[i], activation_gradient[i], dead[i], norm[i], rms[i], ratio[i]};
      setup_.communicator.broadcast(std::span<double>(values), owner);
      activation[i] = values[0];
      activation_gradient[i] = values[1];
      dead[i] = values[2];
      norm[i] = values[3];
      rms[i] = values[4];
      ratio[i] = values[5];
    }
  }
  table_.row(step, "activation_rms", activation);
  table_.row(step, "activation_gradient_rms", activation_gradient);
  table_.row(step, "dead_units", dead);
  table_.row(step, "gradient_norm", norm);
  table_.row(step, "update_ratio", ratio);

  double largest = 0;
  for (const double r : rms) largest = std::max(largest, std::isnan(r) ? 0 : r);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    if (norm[i] > options_.exploding) alarm(exploding, i, step, norm[i]);
    if (rms[i] < options_.vanishing * largest) alarm(vanishing, i, step, norm[i]);
    if (dead[i] > options_.dead) alarm(Alarm::dead, i, step, dead[i]);
  }
}

}  // namespace rankine
