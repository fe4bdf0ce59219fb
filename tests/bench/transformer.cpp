// A transformer's training pass (forward and backward, no optimiser) in float, and the parts of it against
// the speed of a large matrix product of the same run.
//   bench_transformer [repetitions]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

#include "kernels/blas.hpp"
#include "kernels/runtime.hpp"
#include "src/deck/node.hpp"
#include "src/nn/affine.hpp"
#include "src/nn/attention.hpp"
#include "src/nn/network.hpp"
#include "src/nn/softmax.hpp"
#include "tests/support/host_elements.hpp"

using namespace rankine;

namespace {

constexpr std::int64_t samples = 16, tokens = 128, width = 64, heads = 4, vocabulary = 256;

/// The median processor time of fn, in seconds: other programs on the machine disturb it less than the wall
/// clock.
template <class F>
double median_time(int repetitions, F fn) {
  fn();
  std::vector<double> times;
  for (int i = 0; i < repetitions; ++i) {
    const std::clock_t start = std::clock();
    fn();
    times.push_back(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
  }
  std::nth_element(times.begin(), times.begin() + repetitions / 2, times.end());
  return times[static_cast<std::size_t>(repetitions / 2)];
}

Tensor random(const Shape& shape, const char* name) {
  Tensor x = Tensor::empty(shape, DType::f32);
  const HostWrite<float> values(x);
  RandomStream(1, name).fill_normal(std::span(values.get(), static_cast<std::size_t>(x.count())), 0, 0);
  return x;
}

double product_speed(int repetitions) {
  const std::int64_t n = 512;
  const Tensor a = random({n, n}, "a"), b = random({n, n}, "b"), c = Tensor::empty({n, n}, DType::f32);
  const HostRead<float> from_a(a), from_b(b);
  const HostWrite<float> to(c);
  const double seconds = median_time(repetitions, [&] {
    blas::gemm(blas::Op::none, blas::Op::none, n, n, n, 1.0f, from_a.get(), n, from_b.get(), n, 0.0f,
               to.get(), n);
  });
  return 2.0 * n * n * n / seconds;
}

/// One part, with its share of the product's speed.
template <class F>
void report(const char* name, double speed, int repetitions, F fn) {
  double flops = 0;
  {
    const CostAccount account;
    fn();
    flops = account.total().flops;
  }
  const double seconds = median_time(repetitions, fn);
  std::printf("%-34s %8.3f ms %7.1f Gflop/s %5.0f %% of a 512^3 product\n", name, 1e3 * seconds,
              1e-9 * flops / seconds, 100 * flops / seconds / speed);
}

}  // namespace

int main(int argc, char** argv) {
  const int repetitions = argc > 1 ? std::atoi(argv[1]) : 21;
  ensure_kokkos();
  const double speed = product_speed(repetitions);
  std::printf("%-34s %8s    %7.1f Gflop/s\n", "product 512^3", "", 1e-9 * speed);

  const std::int64_t dim = width / heads;
  const Tensor q = variable(random({1, samples, heads, tokens, dim}, "q")),
               k = variable(random({1, samples, heads, tokens, dim}, "k")),
               v = variable(random({1, samples, heads, tokens, dim}, "v"));
  const Tensor seed = random({1, samples, tokens, width}, "seed");
  report("attention forward", speed, repetitions, [&] { attention(q, k, v, true); });
  report("attention forward and backward", speed, repetitions, [&] {
    grad({attention(q, k, v, true)}, {seed}, {q, k, v});
  });
  const Tensor x = variable(random({1, samples, tokens, width}, "x")),
               w = variable(random({1, 4 * width, width}, "w")), b = variable(random({1, 4 * width}, "b"));
  const Tensor wide = random({1, samples, tokens, 4 * width}, "wide");
  report("64 to 256 forward", speed, repetitions, [&] { affine(x, w, b); });
  report("64 to 256 forward and backward", speed, repetitions, [&] {
    grad({affine(x, w, b)}, {wide}, {x, w, b});
  });

  const DeckNode model = parse_deck_text(
      "blocks: [{name: embedding, vocabulary: 256, units: 64}, {name: position},"
      " {name: transformer, heads: 4}, {name: transformer, heads: 4}, {name: dense, units: 256}]\n",
      "bench");
  const Network network = read_network(model, {tokens});
  const ParameterSet set = network.initial_parameters(1);
  const SharedTileSum shards = local_tile_sum(1);
  std::vector<std::int32_t> text(static_cast<std::size_t>(samples * tokens));
  const RandomStream stream(1, "text");
  for (std::size_t i = 0; i < text.size(); ++i)
    text[i] = static_cast<std::int32_t>(stream.integer(vocabulary, 0, 0, static_cast<std::int64_t>(i)));
  const Tensor input = Tensor::from(text, {1, samples, tokens});
  const Tensor flat = variable(set.flat());
  const auto pass = [&] {
    Pass settings{.shards = shards, .training = true};
    const Tensor y = network.forward(set.with_values(flat).bind(shards), input, settings);
    grad({mean(cross_entropy(y, input))}, {}, {flat});
  };
  report("2 blocks, forward and backward", speed, repetitions, pass);
  CostAccount account;
  pass();
  for (const auto& [name, cost] : account.by_op())
    std::printf("    %-28s %4lld calls %10.2f Mflop %8.2f MB\n", name.c_str(),
                static_cast<long long>(cost.calls), 1e-6 * cost.flops, 1e-6 * cost.bytes);
  reset_memory_peak();
  const std::size_t before = memory_account().live;
  pass();
  std::printf("peak of activations: %.2f MB\n", 1e-6 * static_cast<double>(memory_account().peak - before));
}
