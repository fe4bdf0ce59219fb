#include "src/nn/layers/attention.hpp"

#include "src/nn/affine.hpp"
#include "src/nn/attention.hpp"
#include "src/nn/initialisation.hpp"

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

Tensor silu(const Tensor& x) { return mul(x, scale(add_scalar(tanh(scale(x, 0.5)), 1), 0.5)); }

Tensor relu(const Tensor& x) {
  const Tensor in = x.contiguous() ? x.detach() : x.clone();
  Tensor slope = Tensor::empty(x.shape(), x.dtype());
  dispatch_real(x.dtype(), "relu", [&](auto zero) {
    using T = decltype(zero);
    for (std::int64_t i = 0; i < in.count(); ++i) slope.data<T>()[i] = in.data<T>()[i] > 0 ? T(1) : T(0);
  });
  return mul(x, slope);
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

Tensor Attention::forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const {
  const std::int64_t tokens = x.extent(2), width = input()[1];
  if (options_.cache_length != 0 && pass.position + tokens > options_.cache_length)
    throw InputError(name() + ": " + std::to_string(tokens) + " tokens after " +
                     std::to_string(pass.position) + " earlier ones are more than 'cache_length', " +
                     std::to_string(options_.cache_length) + "; raise it or shorten the sequences");
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
  return affine(mixed, parameters[name() + ".output.weight"],
                optional_part(parameters, name() + ".output.bias", options_.bias));
}

void Transformer::Options::options(OptionVisitor& o) {
  attention.options(o);
  o("hidden", hidden, {.help = "units of the perceptron; 0: four times the vectors' length", .min = 0});
  o("activation", activation, {.help = "of the perceptron", .choices = {"gelu", "silu", "relu"}});
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

Tensor Transformer::norm(const BoundParameters& parameters, const std::string& which, const Tensor& x) const {
  const Shape per_shard{x.extent(0), 1, 1, input()[1]};
  const Tensor gain = reshape(parameters[name() + which + ".weight"], per_shard);
  const bool centred = options_.norm_kind == "layer";
  const Tensor at = centred ? sub(x, mean(x, {3}, true)) : x;
  const Tensor y = mul(div(at, sqrt(add_scalar(mean(square(at), {3}, true), 1e-5))), gain);
  return centred ? add(y, reshape(parameters[name() + which + ".bias"], per_shard)) : y;
}

Tensor Transformer::dropped(const Tensor& x, const char* where, const Pass& pass) const {
  if (!pass.training || options_.dropout == 0) return x;
  const RandomStream stream(pass.seed, "dropout/" + name() + where);
  const std::int64_t samples = x.extent(0) * x.extent(1),
                     size = x.count() / std::max<std::int64_t>(samples, 1);
  Tensor mask = Tensor::empty(x.shape(), x.dtype());
  dispatch_real(x.dtype(), "dropout", [&](auto zero) {
    using T = decltype(zero);
    const T kept = static_cast<T>(1 / (1 - options_.dropout));
    const std::int64_t first = pass.position * x.extent(3);
    for (std::int64_t s = 0; s < samples; ++s)
      for (std::int64_t i = 0; i < size; ++i)
        mask.data<T>()[s * size + i] =
            stream.uniform(pass.step, pass.sample(s), first + i) < options_.dropout ? T(0) : kept;
  });
  return mul(x, mask);
}

Tensor Transformer::forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const {
  const bool bias = options_.attention.bias, before = options_.norm != "post", peri = options_.norm == "peri";
  const auto perceptron = [&](const Tensor& in) {
    const Tensor up =
        affine(in, parameters[name() + ".up.weight"], optional_part(parameters, name() + ".up.bias", bias));
    Tensor active;
    if (options_.activation == "gelu") {
      active = gelu(up);
    } else if (options_.activation == "silu") {
      active = silu(up);
    } else {
      active = relu(up);
    }
    return affine(active, parameters[name() + ".down.weight"],
                  optional_part(parameters, name() + ".down.bias", bias));
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
