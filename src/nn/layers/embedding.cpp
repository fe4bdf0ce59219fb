#include "src/nn/layers/embedding.hpp"

#include <cmath>

#include "src/nn/affine.hpp"
#include "src/nn/embedding.hpp"
#include "src/nn/initialisation.hpp"
#include "src/nn/tables.hpp"

namespace rankine {

void Embedding::Options::options(OptionVisitor& o) {
  o("vocabulary", vocabulary, {.help = "number of different tokens", .min = 1, .required = true});
  o("units", units, {.help = "length of a token's vector", .min = 1, .required = true});
  o("deviation", deviation, {.help = "standard deviation of fresh entries", .min = 0});
}

Embedding::Embedding(const Options& options, const LayerContext& context)
    : Layer(context), options_(options) {
  if (input().rank() != 1) throw InputError("embedding: needs tokens [T]");
}

Tokens::Tokens(const Options&, const LayerContext& context) : Layer(context) {
  if (input().rank() < 2)
    throw InputError("tokens: the input is " + input().text() +
                     "; it needs images [channels, height, width] or signals [channels, time]");
}

Tensor Tokens::forward(const BoundParameters&, const Tensor& x, Pass&) const {
  return transpose(reshape(x, {x.extent(0), x.extent(1), x.extent(2), -1}), 2, 3);
}

void Embedding::add_parameters(ParameterSet& parameters, std::uint64_t seed) const {
  add_normal(
      parameters,
      {.name = name() + ".weight", .shape = {options_.vocabulary, options_.units}, .group = "embedding"},
      options_.deviation, seed);
}

Tensor Embedding::forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const {
  if (x.dtype() != DType::i32 || x.rank() != 3)
    throw InputError(name() + ": an embedding needs tokens (i32) [shards, samples, T], not " +
                     name_of(x.dtype()) + " " + x.shape().text() +
                     "; the data set must be one of tokens, and the embedding the first block");
  // By value: the message may be asked for when the step ends.
  const auto message = [name = name(), samples = pass.samples, first = pass.position, length = x.extent(2),
                        vocabulary = options_.vocabulary](std::int64_t place, std::int64_t token) {
    const std::int64_t row = place / length;
    return name + ": token " + std::to_string(token) + " of sample " +
           std::to_string(samples.empty() ? row : samples[static_cast<std::size_t>(row)]) + " at position " +
           std::to_string(first + place % length) + " is outside 0 .. " + std::to_string(vocabulary - 1) +
           "; 'vocabulary' must be that of the data set";
  };
  return embedding(parameters[name() + ".weight"], x, message);
}

void Position::Options::options(OptionVisitor& o) {
  o("kind", kind, {.help = "what is added", .choices = {"learned", "sinusoidal"}});
  o("length", length,
    {.help = "positions that are learned; 0: as many as a sample of the data set has", .min = 0});
  o("deviation", deviation, {.help = "standard deviation of fresh learned entries", .min = 0});
}

Position::Position(const Options& options, const LayerContext& context) : Layer(context), options_(options) {
  if (input().rank() != 2) throw InputError("position: needs sequences [T, D]");
  if (options_.kind == "learned" && input()[0] > length())
    throw InputError("position: sequences of " + std::to_string(input()[0]) + " tokens, but 'length' is " +
                     std::to_string(length()));
  if (options_.kind == "sinusoidal" && options_.length != 0)
    throw InputError("position: 'length' is for learned positions; sines have no limit");
}

std::int64_t Position::length() const { return options_.length == 0 ? input()[0] : options_.length; }

void Position::add_parameters(ParameterSet& parameters, std::uint64_t seed) const {
  if (options_.kind != "learned") return;
  add_normal(parameters, {.name = name() + ".weight", .shape = {length(), input()[1]}, .group = "embedding"},
             options_.deviation, seed);
}

Tensor Position::forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const {
  const std::int64_t tokens = x.extent(2), width = x.extent(3), first = pass.position;
  if (options_.kind == "learned") {
    if (first + tokens > length())
      throw InputError(name() + ": " + std::to_string(tokens) + " tokens after " + std::to_string(first) +
                       " earlier ones, but 'length' is " + std::to_string(length()) +
                       "; raise it or shorten the sequences");
    const Tensor rows = slice(parameters[name() + ".weight"], 1, first, first + tokens);
    return add(x, reshape(rows, {x.extent(0), 1, tokens, width}));
  }
  const auto sine = [&](std::int64_t at) {
    const std::int64_t t = at / width, d = at % width;
    const double rate = std::pow(1e4, -static_cast<double>(d / 2 * 2) / static_cast<double>(width));
    const double angle = static_cast<double>(first + t) * rate;
    return d % 2 == 0 ? std::sin(angle) : std::cos(angle);
  };
  return add(x, cached_table("positions from " + std::to_string(first), {tokens, width}, x.dtype(), sine));
}

void TiedHead::Options::options(OptionVisitor& o) {
  o("embedding", embedding, {.help = "name of the embedding's block, such as block0"});
  o("vocabulary", vocabulary, {.help = "number of different tokens", .min = 1, .required = true});
  o("bias", bias, {.help = "whether a bias is added"});
}

TiedHead::TiedHead(const Options& options, const LayerContext& context) : Layer(context), options_(options) {
  if (input().rank() < 1) throw InputError("tied_head: needs vectors, such as [T, D]");
}

Shape TiedHead::output() const {
  Shape out = input();
  out[out.rank() - 1] = options_.vocabulary;
  return out;
}

void TiedHead::add_parameters(ParameterSet& parameters, std::uint64_t) const {
  const std::string table = options_.embedding + ".weight";
  const Shape expected{options_.vocabulary, input()[input().rank() - 1]};
  if (!parameters.contains(table) || !(parameters.part(table).shape == expected))
    throw InputError(name() + ": tied_head needs a parameter '" + table + "' of shape " + expected.text() +
                     (parameters.contains(table) ? ", which has " + parameters.part(table).shape.text()
                                                 : ", which is not there") +
                     "; 'embedding' must name an embedding before it with the same vocabulary and units");
  if (!options_.bias) return;
  add_constant(parameters, {.name = name() + ".bias", .shape = {options_.vocabulary}, .group = "bias"}, 0);
}

Products TiedHead::products() const {
  const auto rows = static_cast<double>(output().count() / options_.vocabulary);
  return {.weights = {{options_.embedding + ".weight", rows}}};
}

Tensor TiedHead::forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const {
  pass.multiplies(options_.embedding + ".weight", x, x.rank() - 1);
  return affine(x, parameters[options_.embedding + ".weight"],
                options_.bias ? parameters[name() + ".bias"] : Tensor());
}

}  // namespace rankine
