#include "src/train/initial_weights.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/error.hpp"
#include "src/core/strings.hpp"
#include "src/io/weights.hpp"

namespace rankine {
namespace {

template <class T>
std::vector<double> values_of(const std::string& bytes) {
  std::vector<T> typed(bytes.size() / sizeof(T));
  if (!typed.empty()) std::memcpy(typed.data(), bytes.data(), typed.size() * sizeof(T));
  return {typed.begin(), typed.end()};
}

/// The values of one part, checked.
std::vector<double> part_values(const std::string& path, const ParameterInfo& part,
                                const WeightArray& array) {
  const std::string what = path + ": '" + part.name + "' ";
  const std::vector<std::uint64_t> shape(part.shape.begin(), part.shape.end());
  if (array.shape != shape)
    throw InputError(what + "has shape " + hdf5::shape_text(array.shape) + ", the model needs " +
                     hdf5::shape_text(shape) + "; use the model section that the weights were trained with");
  if (array.type != hdf5::Type::f32 && array.type != hdf5::Type::f64)
    throw InputError(what + "holds " + hdf5::type_name(array.type) + "; weights must be float32 or float64");
  std::vector<double> values =
      array.type == hdf5::Type::f32 ? values_of<float>(array.bytes) : values_of<double>(array.bytes);
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i]))
      throw InputError(what + "holds " + (std::isnan(values[i]) ? "NaN" : "an infinity") + " at element " +
                       std::to_string(i) + "; weights must be finite");
  return values;
}

}  // namespace

void load_weights(const Communicator& communicator, const std::string& path, const std::string& group,
                  std::int64_t seed, ParameterSet& parameters) {
  std::vector<double> all;
  communicator.on_root([&] {
    const std::string file = with_seed(path, seed);
    const WeightArrays arrays = read_weights(file, with_seed(group, seed));
    std::vector<std::string> missing, left_over;
    for (const WeightArray& array : arrays)
      if (!parameters.contains(array.name)) left_over.push_back(array.name);
    for (const ParameterInfo& part : parameters.parts()) {
      const auto found = std::find_if(arrays.begin(), arrays.end(),
                                      [&](const WeightArray& array) { return array.name == part.name; });
      if (found == arrays.end()) {
        missing.push_back(part.name);
        continue;
      }
      const std::vector<double> values = part_values(file, part, *found);
      all.insert(all.end(), values.begin(), values.end());
    }
    if (!missing.empty() || !left_over.empty())
      throw InputError(file + ": does not hold the weights of this model" +
                       (missing.empty() ? "" : "; missing: " + join(missing)) +
                       (left_over.empty() ? "" : "; unknown: " + join(left_over)) +
                       "; use the model section that they were trained with, or rename the arrays");
  });
  communicator.broadcast(all);
  dispatch_real(parameters.dtype(), "load_weights", [&](auto zero) {
    using T = decltype(zero);
    const std::vector<T> values(all.begin(), all.end());
    copy_to_device(parameters.flat().data<T>(), values.data(), static_cast<std::int64_t>(values.size()));
  });
}

void InitialWeights::options(OptionVisitor& o) {
  o("weights", weights,
    {.help = "file with the weights to start from (.npz, .safetensors, results, checkpoint), instead of "
             "random ones; {seed} stands for the seed",
     .file = FileUse::input});
  o("weights_of", weights_of,
    {.help = "which run of a results file `weights`, such as pi-hc/seed_{seed}; empty: its only one"});
}

void InitialWeights::check(const DeckNode& train, const Communicator& communicator,
                           std::span<const std::int64_t> seeds, ParameterSet parameters) const {
  if (!given() && !weights_of.empty())
    train.error_at("weights_of", "weights_of chooses a run in the file train.weights, which is not given");
  if (!given()) return;
  try {
    for (const std::int64_t seed : seeds) load(communicator, seed, parameters);
  } catch (const InputError& error) {
    train.error_at("weights", error.what());
  }
}

void write_weights(RunWriter& results, const ParameterSet& parameters) {
  for (const ParameterInfo& part : parameters.parts()) {
    const std::vector<double> values = parameters.view(part).to_vector();
    const std::vector<std::uint64_t> shape(part.shape.begin(), part.shape.end());
    if (parameters.dtype() == DType::f32)
      results.weights(part.name, std::vector<float>(values.begin(), values.end()), shape);
    else
      results.weights(part.name, values, shape);
  }
}

}  // namespace rankine
