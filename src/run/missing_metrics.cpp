#include "src/run/missing_metrics.hpp"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "src/core/strings.hpp"

namespace rankine {

void MissingMetrics::add(const std::string& metric, std::int64_t sample, const std::string& why) {
  entries_.push_back({metric, sample, why});
  std::string& text = entries_.back().why;
  std::replace(text.begin(), text.end(), '\n', ' ');
}

void MissingMetrics::share(const Communicator& communicator) {
  std::string mine;
  for (const Entry& e : entries_) mine += fmt::format("{}\n{}\n{}\n", e.metric, e.sample, e.why);
  entries_.clear();
  std::map<std::string, std::size_t> order;
  for (const std::string& text : communicator.all_gather_text(mine)) {
    std::size_t at = 0;
    const auto line = [&] {
      const std::size_t end = text.find('\n', at);
      return text.substr(std::exchange(at, end + 1), end - at);
    };
    while (at < text.size()) {
      Entry e;
      e.metric = line();
      e.sample = std::stoll(line());
      e.why = line();
      order.emplace(e.metric, order.size());
      entries_.push_back(std::move(e));
    }
  }
  std::stable_sort(entries_.begin(), entries_.end(), [&](const Entry& a, const Entry& b) {
    return std::pair(order[a.metric], a.sample) < std::pair(order[b.metric], b.sample);
  });
}

std::vector<std::string> MissingMetrics::texts() const {
  using Cause = std::pair<std::int64_t, std::string>;
  std::vector<std::pair<std::string, std::vector<Cause>>> by_metric;
  for (const Entry& e : entries_) {
    if (by_metric.empty() || by_metric.back().first != e.metric) by_metric.push_back({e.metric, {}});
    by_metric.back().second.emplace_back(e.sample, e.why);
  }
  std::vector<std::pair<std::vector<Cause>, std::vector<std::string>>> alike;
  for (const auto& [metric, causes] : by_metric) {
    const auto known =
        std::find_if(alike.begin(), alike.end(), [&, &c = causes](const auto& a) { return a.first == c; });
    if (known != alike.end())
      known->second.push_back(metric);
    else
      alike.push_back({causes, {metric}});
  }
  std::vector<std::string> out;
  for (const auto& [causes, metrics] : alike) {
    const auto& [sample, why] = causes.front();
    const std::string where =
        sample < 0           ? ""
        : causes.size() == 1 ? fmt::format(" of sample {}", sample)
                             : fmt::format(" of {} samples, the first of them {},", causes.size(), sample);
    out.push_back(fmt::format("{}{} cannot be computed and {} NaN: {}", join(metrics), where,
                              metrics.size() == 1 ? "is" : "are", why));
  }
  return out;
}

void MissingMetrics::warn(Log& log, const std::string& variant, std::int64_t seed) const {
  for (const std::string& text : texts()) log.warning(fmt::format("{} seed {}: {}", variant, seed, text));
}

}  // namespace rankine
