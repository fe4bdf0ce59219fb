#include "src/tensor/profile.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "src/tensor/ops.hpp"

namespace rankine {
namespace {

thread_local Profile* active_profile = nullptr;

constexpr const char* kRest = "(the rest of the step)";

template <class Work>
double shortest(Work&& work) {
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < 5; ++i) {
    const Stopwatch watch;
    work();
    fence();
    best = std::min(best, watch.seconds());
  }
  return best;
}

DeviceCounters difference(const DeviceCounters& a, const DeviceCounters& b) {
  return {.launches = a.launches - b.launches,
          .host_reads = a.host_reads - b.host_reads,
          .host_writes = a.host_writes - b.host_writes,
          .host_accesses = a.host_accesses - b.host_accesses,
          .bytes_to_host = a.bytes_to_host - b.bytes_to_host,
          .bytes_to_device = a.bytes_to_device - b.bytes_to_device};
}
DeviceCounters sum(const DeviceCounters& a, const DeviceCounters& b) {
  return difference(a, difference({}, b));
}

Traffic difference(const Traffic& a, const Traffic& b) {
  return {.messages = a.messages - b.messages,
          .bytes = a.bytes - b.bytes,
          .collectives = a.collectives - b.collectives,
          .collective_bytes = a.collective_bytes - b.collective_bytes,
          .seconds = a.seconds - b.seconds};
}
Traffic sum(const Traffic& a, const Traffic& b) { return difference(a, difference({}, b)); }

std::string bytes_text(double bytes) {
  if (bytes < 1e3) return fmt::format("{:.4g} B", bytes);
  if (bytes < 1e6) return fmt::format("{:.4g} kB", bytes / 1e3);
  return fmt::format("{:.4g} MB", bytes / 1e6);
}

/// A line a name, the longest times first, as means over the steps. `beyond`: something is above its limit.
std::string table(const std::string& what, const CostTable& rows, double steps, double all_seconds,
                  const MachineLimits& limits, bool& beyond) {
  std::vector<std::pair<std::string, TimedCost>> sorted(rows.begin(), rows.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.second.seconds > b.second.seconds; });
  std::size_t width = what.size();
  for (const auto& [name, row] : sorted) width = std::max(width, name.size());
  std::string out = fmt::format("\n{:<{}}  {:>8}  {:>9}  {:>6}  {:>9}  {:>9}  {:>8}  {:>8}  {:>8}\n", what,
                                width, "calls", "ms", "share", "Mflop", "MB", "Gflop/s", "GB/s", "of limit");
  for (const auto& [name, row] : sorted) {
    out += fmt::format("{:<{}}  {:>8.4g}  {:>9.4f}  {:>4.1f} %", name, width,
                       static_cast<double>(row.calls) / steps, 1e3 * row.seconds / steps,
                       100 * row.seconds / all_seconds);
    if (row.flops != 0 || row.bytes != 0) {
      const double of_limit = std::max(row.flops / limits.flops, row.bytes / limits.bytes) / row.seconds;
      beyond = beyond || of_limit > 1;
      out += fmt::format("  {:>9.4g}  {:>9.4g}  {:>8.3f}  {:>8.3f}  {:>6.1f} %", 1e-6 * row.flops / steps,
                         1e-6 * row.bytes / steps, 1e-9 * row.flops / row.seconds,
                         1e-9 * row.bytes / row.seconds, 100 * of_limit);
    }
    out += '\n';
  }
  return out;
}

}  // namespace

MachineLimits measured_limits() {
  const NoGrad off;
  const Uncounted scope;
  const CostAccount no_cost;
  constexpr std::int64_t length = 8 << 20;
  MachineLimits out;
  // To start a kernel must cost little beside the work, and an interruption by others must not meet all of
  // it: matrices grow until a product takes half a millisecond, and the copy is timed as a whole and by
  // pieces.
  for (std::int64_t n = 512;; n *= 2) {
    const Tensor a = Tensor::full({n, n}, DType::f32, 0.5), b = Tensor::full({n, n}, DType::f32, 0.25);
    const double seconds = shortest([&] { matmul(a, b); });
    out.flops = std::max(out.flops, 2 * std::pow(static_cast<double>(n), 3) / seconds);
    if (seconds > 5e-4 || n == 8192) break;
  }
  const Tensor from = Tensor::zeros({length}, DType::f64), to = Tensor::zeros({length}, DType::f64);
  for (const std::int64_t pieces : {1, 32})
    for (std::int64_t i = 0; i < 5 * pieces;
         ++i) {  // when a piece's turn comes again, it has left the caches
      const std::int64_t n = length / pieces, begin = i % pieces * n;
      const Stopwatch watch;
      to.view({n}, {1}, begin).assign(from.view({n}, {1}, begin));
      fence();
      out.bytes = std::max(out.bytes, 2.0 * 8 * static_cast<double>(n) / watch.seconds());
    }
  return out;
}

Profile::Profile() {
  RANKINE_ASSERT(active_profile == nullptr, "two profiles at once");
  active_profile = this;
}
Profile::~Profile() {
  time_launches(false);
  active_profile = nullptr;
}
Profile* Profile::active() { return active_profile; }

void Profile::begin_steps() {
  Profile* const p = active_profile;
  if (p == nullptr) return;
  fence();
  if (p->periods_++ <= 1) {
    forget_launch_costs();
    p->rows_.clear();
    p->steps_ = 0;
    p->seconds_ = 0;
    p->counters_ = {};
    p->traffic_ = {};
  }
  time_launches(true);
  p->inside_ = true;
  p->counters_before_ = device_counters();
  p->traffic_before_ = traffic();
  p->kernels_before_ = launched_cost();
  p->period_ = Stopwatch();
  p->lap_ = Stopwatch();
}

void Profile::end_steps(std::int64_t count) {
  Profile* const p = active_profile;
  if (p == nullptr || !p->inside_) return;
  lap(kRest);
  p->inside_ = false;
  time_launches(false);
  p->steps_ += count;
  p->seconds_ += p->period_.seconds();
  p->counters_ = sum(p->counters_, difference(device_counters(), p->counters_before_));
  p->traffic_ = sum(p->traffic_, difference(traffic(), p->traffic_before_));
}

void Profile::lap(std::string_view name, const Cost& cost, std::int64_t calls) {
  Profile* const p = active_profile;
  if (p == nullptr || !p->inside_) return;
  fence();
  auto found = p->rows_.find(name);
  if (found == p->rows_.end()) found = p->rows_.emplace(std::string(name), TimedCost()).first;
  TimedCost& row = found->second;
  const Cost before = std::exchange(p->kernels_before_, launched_cost());
  const bool told = calls == 0 || cost.flops != 0 || cost.bytes != 0;
  row += told ? cost : Cost{p->kernels_before_.flops - before.flops, p->kernels_before_.bytes - before.bytes};
  row.calls += calls;
  row.seconds += p->lap_.lap();
}

std::int64_t Profile::calls(std::string_view name) const {
  const auto found = rows_.find(name);
  return found == rows_.end() ? 0 : found->second.calls;
}

std::string Profile::text(const std::string& title, const MachineLimits& limits) const {
  if (steps_ == 0) return fmt::format("profile of {}: no training step was made\n", title);
  const auto n = static_cast<double>(steps_);
  const auto per_step = [&](auto total) { return static_cast<double>(total) / n; };
  std::string out = fmt::format(
      "profile of {}: means over {} steps of {:.4g} ms on rank 0\n"
      "limits measured here: {:.4g} Gflop/s (product of matrices, f32), {:.4g} GB/s (copy)\n",
      title, steps_, 1e3 * per_step(seconds_), limits.flops / 1e9, limits.bytes / 1e9);

  bool beyond = false;
  for (const auto& [what, rows] : {std::pair("op", &rows_), std::pair("kernel", &launch_costs())})
    out += table(what, *rows, n, seconds_, limits, beyond);
  if (beyond)
    out +=
        "Above 100 %: what was read and written was in the caches, and the limit is that of main memory.\n";

  out += fmt::format(
      "\n"
      "a step: {:.4g} launches; {:.4g} host reads of {} together, {:.4g} copies to the device of {}, {:.4g} "
      "accesses through the bridge\n",
      per_step(counters_.launches), per_step(counters_.host_reads),
      bytes_text(per_step(counters_.bytes_to_host)), per_step(counters_.host_writes),
      bytes_text(per_step(counters_.bytes_to_device)), per_step(counters_.host_accesses));
  out += fmt::format("MPI: {:.4f} ms; {:.4g} messages of {} together, {:.4g} collectives of {}\n",
                     1e3 * per_step(traffic_.seconds), per_step(traffic_.messages),
                     bytes_text(per_step(traffic_.bytes)), per_step(traffic_.collectives),
                     bytes_text(per_step(traffic_.collective_bytes)));
  return out;
}

}  // namespace rankine
