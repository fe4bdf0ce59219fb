#include "src/nn/parametrisation/largest.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "kernels/selection.hpp"
#include "src/tensor/elementary.hpp"
#include "src/tensor/op_support.hpp"

namespace rankine {

Tensor largest_of_each(const Tensor& x, int n, int m) {
  const Region<"largest_of_each"> region;
  return repeated(
      [&](const Tensor& one) {
        const Tensor mask = Tensor::empty(one.shape(), one.dtype());
        dispatch_real(one.dtype(), "largest_of_each", [&](auto zero) {
          using T = decltype(zero);
          kernels::largest_of_each<T>(one.count() / m, m, n, one.data<T>(), mask.data<T>());
        });
        return mask;
      },
      x);
}

void largest_options(OptionVisitor& o, int& n, int& m) {
  o("n", n, {.help = "weights of a group that stay", .min = 1});
  o("m", m, {.help = "weights of a group, for neighbouring inputs", .min = 1});
}

bool has_groups(const ParameterInfo& part, int m) {
  return part.shape.rank() >= 2 && part.shape.count() / part.shape[0] % m == 0;
}

void Largest::Options::options(OptionVisitor& o) {
  largest_options(o, n, m);
  o("fade", fade,
    {.help =
         "how the others go between the steps `from` and `to`: at once; b in w (M + b (1 - M)) falls to 0; or "
         "groups keep m - 1, m / 2, m / 4, ... weights",
     .choices = {"none", "linear", "exponential", "structure"}});
  o("from", from, {.help = "step of training before which it sees all weights", .unit = "steps", .min = 0});
  o("to", to, {.help = "step from which only the n largest are left", .unit = "steps", .min = 0});
  o("rate", rate,
    {.help = "fade: exponential: -log b at the step before `to`", .min = 0, .exclusive_min = true});
  o("gradient", gradient,
    {.help = "of the weights: that of what a pass sees as it is, or by the chain rule",
     .choices = {"through", "chain"}});
}

void Largest::Options::validate(const DeckNode& node) const {
  if (n > m) node.error_at("n", fmt::format("n: {} of {} weights cannot stay; choose at most m", n, m));
  if (fade != "none" && to <= from)
    node.error_at("to",
                  fmt::format("to: {}, but weights fade from step {} on; choose a later one", to, from));
  if (fade == "structure" && (m % n != 0 || ((m / n) & (m / n - 1)) != 0))
    node.error_at("fade",
                  fmt::format("fade: structure halves what groups keep, which does not lead from {} to {}; "
                              "choose n so that m / n is a power of two",
                              m, n));
}

void Largest::add_parameters(ParameterSet& set, const std::string& name, std::uint64_t) const {
  const ParameterInfo& part = set.part(name);
  if (!has_groups(part, options_.m))
    throw InputError(
        fmt::format("m: {} does not divide the inputs of {} {}; leave it out with `except`, or choose "
                    "a divisor",
                    options_.m, name, part.shape.text()));
}

Largest::Left Largest::left(std::int64_t step) const {
  const Options& o = options_;
  if (step < o.from) return {1, o.m};
  if (o.fade == "none" || step >= o.to) return {0, o.n};
  const double way = static_cast<double>(step - o.from) / (o.to - o.from);
  if (o.fade == "linear") return {1 - way, o.n};
  if (o.fade == "exponential") return {std::exp(-o.rate * way), o.n};
  const int halvings = static_cast<int>(std::lround(std::log2(o.m / o.n))),
            span = static_cast<int>(way * (halvings + 1));
  return {0, span == 0 ? std::max(o.m - 1, o.n) : o.m >> span};
}

Tensor Largest::value(const BoundParameters& parameters, const std::string& name, const Pass& pass) const {
  const Tensor& w = parameters[name];
  const Left now = pass.training ? left(pass.step) : Left{0, options_.n};
  if (now.b == 1) return w;
  const Tensor mask = largest_of_each(w, now.n, options_.m),
               factor = now.b == 0 ? mask : add_scalar(scale(mask, 1 - now.b), now.b);
  return options_.gradient == "chain" ? mul(w, factor) : straight_through(w, mul(w.detach(), factor));
}

}  // namespace rankine
