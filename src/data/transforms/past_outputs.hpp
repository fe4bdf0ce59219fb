// The latest outputs of a network for each training example.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "src/tensor/state_registry.hpp"

namespace rankine {

/// The latest probabilities of the classes for each training example, by its number. They are the same on all
/// ranks, and part of checkpoints.
class PastOutputs {
 public:
  PastOutputs(std::int64_t examples, std::int64_t classes)
      : classes_(classes), values_(static_cast<std::size_t>(examples * classes), unknown) {}
  std::int64_t classes() const { return classes_; }
  /// The probabilities [classes]; empty if the network has not seen the example yet.
  std::span<const double> of(std::int64_t example) const {
    const auto row = std::span(values_).subspan(at(example), static_cast<std::size_t>(classes_));
    return row[0] == unknown ? std::span<const double>() : row;
  }
  void set(std::int64_t example, std::span<const double> probabilities) {
    std::copy(probabilities.begin(), probabilities.end(),
              values_.begin() + static_cast<std::ptrdiff_t>(at(example)));
  }
  void register_state(StateRegistry& registry) {
    registry.add("data/past_outputs", StateKind::replicated, values_);
  }

 private:
  static constexpr double unknown = -1;
  std::size_t at(std::int64_t example) const { return static_cast<std::size_t>(example * classes_); }

  std::int64_t classes_;
  std::vector<double> values_;
};

}  // namespace rankine
