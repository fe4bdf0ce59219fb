#include "src/nn/layers/recurrent.hpp"

#include "src/nn/affine.hpp"
#include "src/nn/initialisation.hpp"

namespace rankine {

void RecurrentOptions::options(OptionVisitor& o) {
  o("units", units, {.help = "length of the hidden state", .min = 1, .required = true});
  o("bias", bias, {.help = "whether biases are added"});
  o("outputs", outputs,
    {.help = "hidden states of all steps, or the last one's", .choices = {"all", "last"}});
}

Recurrent::Recurrent(Cell cell, const Options& options, const LayerContext& context)
    : Layer(context), cell_(cell), options_(options) {
  if (input().rank() != 2 || input()[0] == 0)
    throw InputError("a recurrent layer needs sequences [T, D] of at least one step");
}

Shape Recurrent::output() const {
  return options_.outputs == "last" ? Shape{options_.units} : Shape{input()[0], options_.units};
}

void Recurrent::add_parameters(ParameterSet& parameters, std::uint64_t seed) const {
  const std::int64_t units = options_.units, rows = kernels::gates_of(cell_) * units, width = input()[1];
  const auto add = [&](const std::string& which, const Shape& shape, const char* group) {
    add_parameter(parameters, {.name = name() + which, .shape = shape, .group = group},
                  Initialisation::uniform, static_cast<double>(units), static_cast<double>(units), seed);
  };
  add(".input.weight", {rows, width}, "default");
  add(".recurrent.weight", {rows, units}, "default");
  if (!options_.bias) return;
  add(".input.bias", {rows}, "bias");
  if (cell_ == Cell::gru) add(".candidate.bias", {units}, "bias");
}

Products Recurrent::products() const {
  const auto steps = static_cast<double>(input()[0]);
  return {.weights = {{name() + ".input.weight", steps}, {name() + ".recurrent.weight", steps}}};
}

Tensor Recurrent::forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const {
  const std::int64_t shards = x.extent(0), samples = x.extent(1), steps = x.extent(2), units = options_.units;
  pass.multiplies(name() + ".input.weight", x, 3);
  const Tensor projected = affine(x, parameters[name() + ".input.weight"],
                                  options_.bias ? parameters[name() + ".input.bias"] : Tensor());
  const auto initial = [&](const char* which) {
    if (pass.state != nullptr)
      if (const auto found = pass.state->find(name() + which); found != pass.state->end())
        return found->second;
    return Tensor::zeros({shards, samples, units}, x.dtype());
  };
  const Tensor before = initial(".hidden");
  const auto [hidden, cell] =
      recurrent(cell_, projected, parameters[name() + ".recurrent.weight"],
                options_.bias && cell_ == Cell::gru ? parameters[name() + ".candidate.bias"] : Tensor(),
                before, cell_ == Cell::lstm ? initial(".cell") : Tensor());
  pass.multiplies(name() + ".recurrent.weight", before, 2);
  if (steps > 1) pass.multiplies(name() + ".recurrent.weight", slice(hidden, 2, 0, steps - 1), 3);
  const bool last_only = options_.outputs == "last";
  if (pass.state == nullptr && !last_only) return hidden;
  const Tensor last = reshape(slice(hidden, 2, steps - 1, steps), {shards, samples, units});
  if (pass.state != nullptr) {
    (*pass.state)[name() + ".hidden"] = last;
    if (cell_ == Cell::lstm) (*pass.state)[name() + ".cell"] = cell;
  }
  return last_only ? last : hidden;
}

}  // namespace rankine
