#include "src/nn/initialisation.hpp"

#include <algorithm>
#include <cmath>

#include "src/core/random.hpp"

namespace rankine {
namespace {

template <class Draw>
void add_drawn(ParameterSet& set, ParameterInfo info, std::uint64_t seed, Draw draw) {
  const std::string name = info.name;
  set.add(std::move(info));
  const RandomStream stream(seed, "parameters/" + name);
  const Tensor values = set.view(name);
  dispatch_real(set.dtype(), "initialisation", [&](auto zero) {
    using T = decltype(zero);
    const HostWrite<T> to(values);
    for (std::int64_t i = 0, end = values.count(); i < end; ++i) to[i] = static_cast<T>(draw(stream, i));
  });
}

}  // namespace

const std::vector<std::string> initialisation_names{
    "uniform", "he_normal", "he_normal_out", "xavier_normal", "lecun_normal", "zeros", "ones"};

Initialisation initialisation_of(const std::string& name) {
  const auto found = std::find(initialisation_names.begin(), initialisation_names.end(), name);
  RANKINE_ASSERT(found != initialisation_names.end(), "no initialisation '" + name + "'");
  return static_cast<Initialisation>(found - initialisation_names.begin());
}

void add_normal(ParameterSet& set, ParameterInfo info, double deviation, std::uint64_t seed) {
  add_drawn(set, std::move(info), seed, [deviation](const RandomStream& stream, std::int64_t i) {
    return deviation * stream.normal(0, 0, i);
  });
}

void add_constant(ParameterSet& set, ParameterInfo info, double value) {
  const std::string name = info.name;
  set.add(std::move(info));
  set.view(name).assign(Tensor::full(set.part(name).shape, set.dtype(), value));
}

void add_parameter(ParameterSet& set, ParameterInfo info, Initialisation how, double fan_in, double fan_out,
                   std::uint64_t seed) {
  switch (how) {
    case Initialisation::uniform: {
      const double bound = 1 / std::sqrt(fan_in);
      return add_drawn(set, std::move(info), seed, [bound](const RandomStream& stream, std::int64_t i) {
        return stream.uniform(-bound, bound, 0, 0, i);
      });
    }
    case Initialisation::he_normal:
      return add_normal(set, std::move(info), std::sqrt(2 / fan_in), seed);
    case Initialisation::he_normal_out:
      return add_normal(set, std::move(info), std::sqrt(2 / fan_out), seed);
    case Initialisation::xavier_normal:
      return add_normal(set, std::move(info), std::sqrt(2 / (fan_in + fan_out)), seed);
    case Initialisation::lecun_normal:
      return add_normal(set, std::move(info), std::sqrt(1 / fan_in), seed);
    case Initialisation::zeros:
      return add_constant(set, std::move(info), 0);
    case Initialisation::ones:
      return add_constant(set, std::move(info), 1);
  }
}

}  // namespace rankine
