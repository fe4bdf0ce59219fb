#include "src/sparse/criterion.hpp"

#include <cmath>

#include "src/core/random.hpp"
#include "src/nn/parametrisation/gaussian.hpp"

namespace rankine {

std::vector<double> Magnitude::scores(const ScoredPart& part) const {
  std::vector<double> out;
  out.reserve(part.weights.size());
  for (const double w : part.weights) out.push_back(std::abs(w));
  return out;
}

std::vector<double> RandomScore::scores(const ScoredPart& part) const {
  const RandomStream stream(part.seed, "sparsity/" + part.name);
  std::vector<double> out(part.weights.size());
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = stream.uniform(part.event, 0, static_cast<std::int64_t>(i));
  return out;
}

std::vector<double> Snip::scores(const ScoredPart& part) const {
  std::vector<double> out;
  out.reserve(part.weights.size());
  for (std::size_t i = 0; i < part.weights.size(); ++i)
    out.push_back(std::abs(part.weights[i] * part.evidence[i]));
  return out;
}

std::vector<double> Grasp::scores(const ScoredPart& part) const {
  std::vector<double> out(part.weights.begin(), part.weights.end());
  for (std::size_t i = 0; i < out.size(); ++i) out[i] *= part.evidence[i];
  return out;
}

std::vector<double> Fisher::scores(const ScoredPart& part) const {
  std::vector<double> out(part.weights.begin(), part.weights.end());
  for (std::size_t i = 0; i < out.size(); ++i) out[i] *= out[i] * part.evidence[i] / 2;
  return out;
}

std::vector<double> Wanda::scores(const ScoredPart& part) const {
  std::vector<double> out;
  out.reserve(part.weights.size());
  for (std::size_t i = 0; i < part.weights.size(); ++i)
    out.push_back(std::abs(part.weights[i]) * part.evidence[i]);
  return out;
}

void SignalToNoise::check(const ParameterSet& network, const std::string& name) const {
  if (!network.contains(name + std::string(Gaussian::suffix)))
    throw InputError(
        "snr: " + name +
        " has no variance; express it by model.parametrise with `as: gaussian`, or use magnitude");
}

std::vector<double> SignalToNoise::scores(const ScoredPart& part) const {
  std::vector<double> out = part.parameters->view(part.name + std::string(Gaussian::suffix)).to_vector();
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = std::abs(part.weights[i]) * std::exp(-0.5 * out[i]);
  return out;
}

const Registry<Criterion>& criteria() {
  static const Registry<Criterion> table(
      "criterion",
      {
          entry<Magnitude>("magnitude", "the weight's size"),
          entry<RandomScore>("random", "random numbers"),
          entry<Snip>("snip", "size of weight times gradient, over some batches (SNIP)"),
          entry<Grasp>("grasp", "what the gradient's norm loses with the weight, over some batches (GraSP)"),
          entry<Fisher>("fisher", "square of weight times mean square of gradients, over some batches"),
          entry<MovementScore>("movement", "how far training has moved the weight away from zero"),
          entry<SynFlow>("synflow", "flow through the weight, without data (SynFlow)"),
          entry<Wanda>("wanda", "size of weight times norm of its input, over some batches (Wanda)"),
          entry<SignalToNoise>("snr", "size of the mean over the deviation, of gaussian weights"),
      });
  return table;
}

}  // namespace rankine
