#include "src/nn/layers/attention.hpp"

#include "src/nn/activations.hpp"
#include "src/nn/affine.hpp"
#include "src/nn/attention.hpp"
#include "src/nn/dropout.hpp"
#include "src/nn/initialisation.hpp"
#include "src/nn/norms.hpp"

namespace rankine {

void append_fresh_keys(CarriedState& state) {
  for (const std::string kind : {"keys", "values"}) {
    const std::string ending = ".fresh_" + kind;
    for (auto entry = state.begin(); entry != state.end();) {
      const std::string& fresh = entry->first;
      if (!fresh.ends_with(ending)) {
        ++entry;
        continue;
      }
      Tensor& cached = state[fresh.substr(0, fresh.size() - ending.size()) + "." + kind];
      const Tensor more = entry->second.detach();
      cached = cached.defined() ? concat({cached.detach(), more}, 3) : more;
      entry = state.erase(entry);
    }
  }
}

void AttentionOptions::options(OptionVisitor& o) {
  o("heads", heads, {.help = "number of heads; a sample's last axis is a multiple of it", .min = 1});
  o("causal", causal, {.help = "whether a token sees only itself and those before"});
  o("rotary", rotary, {.help = "whether queries and keys are rotated by their positions"});
  o("rotary_base", rotary_base, {.help = "ratio of the slowest rotation to the fastest", .min = 1});
  o("cache_length", cache_length,
    {.help = "tokens that a sequence may have, those of a cache included; 0: any number", .min = 0});
  o("bias", bias, {.help = "whether biases are added"});
  o("lora_rank", lora_rank,
    {.help = "rank of trained updates of queries and values, the rest being frozen; 0: none", .min = 0});
  o("lora_scale", lora_scale, {.help = "factor of the low-rank updates", .min = 0});
  o("initialisation", initialisation, {.help = "how weights are drawn", .choices = initialisation_names});
}

namespace {

// weight [out, in] and bias [out] below `name`.
void add_affine(ParameterSet& parameters, const std::string& name, std::int64_t out, std::int64_t in,
                bool bias, bool frozen, const std::string& how, std::uint64_t seed) {
  const auto fan_in = static_cast<double>(in), fan_out = static_cast<double>(out);
  add_parameter(parameters, {.name = name + ".weight", .shape = {out, in}, .frozen = frozen},
                initialisation_of(how), fan_in, fan_out, seed);
  if (bias)
    add_constant(parameters, {.name = name + ".bias", .shape = {out}, .group = "bias", .frozen = frozen}, 0);
}

Tensor optional_part(const BoundParameters& parameters, const std::string& name, bool present) {
  return present ? parameters[name] : Tensor();
}

}  // namespace

Attention::Attention(const Options& options, const LayerContext& context)
    : Layer(context), options_(options) {
  if (input().rank() != 2) throw InputError("attention: needs sequences [T, D]");
  const std::int64_t tokens = input()[0], width = input()[1];
  if (width % options_.heads != 0)
    throw InputError("attention: vectors of " + std::to_string(width) + " do not split into " +
                     std::to_string(options_.heads) + " heads; 'heads' must divide it");
  if (options_.rotary && width / options_.heads % 2 != 0)
    throw InputError("attention: rotary positions need heads of even length, not " +
                     std::to_string(width / options_.heads));
  if (options_.cache_length != 0 && tokens > options_.cache_length)
    throw InputError("attention: sequences of " + std::to_string(tokens) + " tokens, but 'cache_length' is " +
                     std::to_string(options_.cache_length));
}

void Attention::add_parameters(ParameterSet& parameters, std::uint64_t seed) const {
  const std::int64_t width = input()[1], rank = options_.lora_rank;
  const bool frozen = rank > 0;
  add_affine(parameters, name() + ".qkv", 3 * width, width, options_.bias, frozen, options_.initialisation,
             seed);
  add_affine(parameters, name() + ".output", width, width, options_.bias, frozen, options_.initialisation,
             seed);
  if (rank == 0) return;
  for (const char* which : {".lora_q", ".lora_v"}) {
    add_parameter(parameters, {.name = name() + which + ".in", .shape = {rank, width}, .group = "lora"},
                  Initialisation::uniform, static_cast<double>(width), static_cast<double>(rank), seed);
    add_constant(parameters, {.name = name() + which + ".out", .shape = {width, rank}, .group = "lora"}, 0);
  }
}

// Low-rank updates are counted as merged into their weights.
Products Attention::products() const {
  const auto tokens = static_cast<double>(input()[0]), width = static_cast<double>(input()[1]);
  const double pairs = options_.causal ? tokens * (tokens + 1) / 2 : tokens * tokens;
  return {.weights = {{name() + ".qkv.weight", tokens}, {name() + ".output.weight", tokens}},
          .others = 2 * pairs * width};
}

Tensor Attention::forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const {
  const std::int64_t tokens = x.extent(2), width = input()[1];
  if (options_.cache_length != 0 && pass.position + tokens > options_.cache_length)
    throw InputError(name() + ": " + std::to_string(tokens) + " tokens after " +
                     std::to_string(pass.position) + " earlier ones are more than 'cache_length', " +
                     std::to_string(options_.cache_length) + "; raise it or shorten the sequences");
  pass.multiplies(name() + ".qkv.weight", x, 3);
  Tensor weight = parameters[name() + ".qkv.weight"];
  if (options_.lora_rank > 0) {
    const auto update = [&](const char* which) {
      return matmul(scale(parameters[name() + which + ".out"], options_.lora_scale),
                    parameters[name() + which + ".in"]);
    };
    weight = concat({add(slice(weight, 1, 0, width), update(".lora_q")), slice(weight, 1, width, 2 * width),
                     add(slice(weight, 1, 2 * width, 3 * width), update(".lora_v"))},
                    1);
  }
  const Tensor qkv = affine(x, weight, optional_part(parameters, name() + ".qkv.bias", options_.bias));
  const auto [q, k, v] = split_heads(
      qkv, options_.heads, {.on = options_.rotary, .base = options_.rotary_base, .first = pass.position});
  Tensor past_k, past_v;
  if (pass.state != nullptr) {
    CarriedState& state = *pass.state;
    if (const auto found = state.find(name() + ".keys"); found != state.end()) {
      past_k = found->second;
      const auto values = state.find(name() + ".values");
      RANKINE_ASSERT(values != state.end(), name() + ": cached keys without values");
      past_v = values->second;
      RANKINE_ASSERT(past_k.extent(3) <= pass.position, name() + ": " + std::to_string(past_k.extent(3)) +
                                                            " cached keys, but only " +
                                                            std::to_string(pass.position) + " tokens before");
    }
    state[name() + ".fresh_keys"] = k;
    state[name() + ".fresh_values"] = v;
  }
  const Tensor mixed = attention(q, k, v, options_.causal, past_k, past_v);
  pass.multiplies(name() + ".output.weight", mixed, 3);
  return affine(mixed, parameters[name() + ".output.weight"],
                optional_part(parameters, name() + ".output.bias", options_.bias));
}

void Transformer::Options::options(OptionVisitor& o) {
  attention.options(o);
  o("hidden", hidden, {.help = "units of the perceptron; 0: four times the vectors' length", .min = 0});
  o("activation", activation, {.help = "of the perceptron", .choices = {"gelu", "silu", "relu"}});
  o("gated", gated,
    {.help =
         "whether the perceptron's units are multiplied by a second linear layer's, and the activation is "
         "that one's"});
  o("norm", norm, {.help = "where normalisation stands", .choices = {"pre", "post", "peri"}});
  o("norm_kind", norm_kind,
    {.help = "by mean and variance, or by the mean square alone", .choices = {"layer", "rms"}});
  o("dropout", dropout,
    {.help = "share of each branch's outputs that training drops",
     .min = 0,
     .max = 1,
     .exclusive_max = true});
}

Transformer::Transformer(const Options& options, const LayerContext& context)
    : Layer(context),
      options_(options),
      attention_(options.attention, {context.name + ".attention", context.input, context.dtype}) {}

void Transformer::add_parameters(ParameterSet& parameters, std::uint64_t seed) const {
  const bool frozen = options_.attention.lora_rank > 0, bias = options_.attention.bias;
  const std::int64_t width = input()[1];
  attention_.add_parameters(parameters, seed);
  const std::string& how = options_.attention.initialisation;
  add_affine(parameters, name() + ".up", hidden(), width, bias, frozen, how, seed);
  if (options_.gated) add_affine(parameters, name() + ".gate", hidden(), width, bias, frozen, how, seed);
  add_affine(parameters, name() + ".down", width, hidden(), bias, frozen, how, seed);
  std::vector<std::string> norms{".norm1", ".norm2"};
  if (options_.norm == "peri") norms.insert(norms.end(), {".norm1_out", ".norm2_out"});
  for (const std::string& which : norms) {
    add_constant(parameters,
                 {.name = name() + which + ".weight", .shape = {width}, .group = "norm", .frozen = frozen},
                 1);
    if (options_.norm_kind == "layer")
      add_constant(parameters,
                   {.name = name() + which + ".bias", .shape = {width}, .group = "norm", .frozen = frozen},
                   0);
  }
}

Products Transformer::products() const {
  Products all = attention_.products();
  const auto tokens = static_cast<double>(input()[0]);
  for (const char* which : {".up", ".down"}) all.weights.emplace_back(name() + which + ".weight", tokens);
  if (options_.gated) all.weights.emplace_back(name() + ".gate.weight", tokens);
  return all;
}

Tensor Transformer::norm(const BoundParameters& parameters, const std::string& which, const Tensor& x) const {
  const bool centred = options_.norm_kind == "layer";
  return normalise_rows(x, parameters[name() + which + ".weight"],
                        optional_part(parameters, name() + which + ".bias", centred), {.centred = centred});
}

Tensor Transformer::dropped(const Tensor& x, const std::string& where, Pass& pass) const {
  if (!pass.training || options_.dropout == 0) return x;
  // Pieces of a sequence drop different elements.
  const std::string piece = pass.position == 0 ? "" : "/" + std::to_string(pass.position);
  return dropout(x, options_.dropout, RandomStream(pass.seed, "dropout/" + name() + where + piece), pass);
}

Tensor Transformer::forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const {
  const bool bias = options_.attention.bias, before = options_.norm != "post", peri = options_.norm == "peri";
  const auto linear = [&](const Tensor& in, const char* which) {
    pass.multiplies(name() + which + ".weight", in, 3);
    return affine(in, parameters[name() + which + ".weight"],
                  optional_part(parameters, name() + which + ".bias", bias));
  };
  const auto perceptron = [&](const Tensor& in) {
    const Tensor up = linear(in, ".up");
    if (!options_.gated) return linear(activation(options_.activation, up), ".down");
    return linear(mul(activation(options_.activation, linear(in, ".gate")), up), ".down");
  };
  const auto branch = [&](const Tensor& in, const char* place, const std::string& which, const auto& fn) {
    Tensor y = fn(before ? norm(parameters, which, in) : in);
    if (peri) y = norm(parameters, which + "_out", y);
    y = add(in, dropped(y, place, pass));
    return before ? y : norm(parameters, which, y);
  };
  const Tensor middle = branch(x, ".attention", ".norm1",
                               [&](const Tensor& in) { return attention_.forward(parameters, in, pass); });
  return branch(middle, ".perceptron", ".norm2", perceptron);
}

}  // namespace rankine
