// Swaps of DSnoT against a search of all weights in each cycle.
#include <cmath>
#include <random>

#include <gmock/gmock.h>

#include "src/methods/sparse/dsnot.hpp"
#include "src/sparse/sparsifier.hpp"
#include "src/tensor/ops.hpp"

namespace rankine {
namespace {

RefinedPart random_part(std::size_t rows, std::size_t columns) {
  std::mt19937 rng(7);
  std::uniform_real_distribution<double> uniform(-1, 1);
  RefinedPart part{rows, columns};
  std::vector<double> m(columns), v(columns), n(columns);
  for (std::size_t j = 0; j < columns; ++j) {
    m[j] = uniform(rng);
    v[j] = 0.1 + std::abs(uniform(rng));
    n[j] = std::sqrt(100 * (v[j] + m[j] * m[j]));
  }
  for (std::size_t i = 0; i < rows * columns; ++i) {
    part.weights.push_back(uniform(rng));
    part.means.push_back(m[i % columns]);
    part.variances.push_back(v[i % columns]);
    part.norms.push_back(n[i % columns]);
  }
  return part;
}

double error(const RefinedPart& part, const std::vector<double>& mask, std::size_t row) {
  double sum = 0;
  for (std::size_t j = row * part.columns; j < (row + 1) * part.columns; ++j)
    sum += (1 - mask[j]) * part.weights[j] * part.means[j];
  return sum;
}

/// Equations 4 and 5, each cycle over the whole row.
std::vector<double> searched(const RefinedPart& part, const std::vector<double>& mask, int cycles,
                             double threshold) {
  std::vector<double> out = mask;
  for (std::size_t row = 0; row < part.rows; ++row) {
    const double enough = threshold * std::abs(error(part, mask, row));
    for (int cycle = 0; cycle < cycles; ++cycle) {
      const double e = error(part, out, row);
      if (std::abs(e) <= enough) break;
      double best = -1, worst = 1e300;
      std::size_t comes = 0, goes = 0;
      for (std::size_t j = row * part.columns; j < (row + 1) * part.columns; ++j) {
        if (out[j] != mask[j]) continue;
        const double share = part.weights[j] * part.means[j];
        const double gain = std::abs(share) / part.variances[j],
                     loss = std::abs(part.weights[j]) * part.norms[j];
        if (mask[j] == 0 && share * e > 0 && gain > best) best = gain, comes = j;
        if (mask[j] == 1 && share * e < 0 && loss < worst) worst = loss, goes = j;
      }
      if (best < 0 || worst == 1e300) break;
      out[comes] = 1;
      out[goes] = 0;
    }
  }
  return out;
}

std::unique_ptr<Refinement> made(const std::string& options) {
  return refinements().make(parse_deck_text("{name: dsnot, " + options + "}", "deck.yaml"));
}

TEST(Dsnot, SwapsAreThoseOfASearch) {
  const RefinedPart part = random_part(6, 40);
  std::vector<double> mask;
  for (std::size_t i = 0; i < part.weights.size(); ++i) mask.push_back(i * 7 % 5 < 2 ? 1 : 0);
  for (const auto& [cycles, threshold] : {std::pair(1, 0.1), {4, 0.1}, {50, 0.1}, {50, 0.0}}) {
    std::vector<double> refined = mask;
    made("cycles: " + std::to_string(cycles) + ", threshold: " + std::to_string(threshold))
        ->refine(part, refined);
    EXPECT_EQ(refined, searched(part, mask, cycles, threshold)) << cycles;
    EXPECT_NE(refined, mask);
    for (std::size_t row = 0; row < part.rows; ++row) {
      double left = 0, before = 0;
      for (std::size_t j = row * 40; j < (row + 1) * 40; ++j) left += refined[j], before += mask[j];
      EXPECT_EQ(left, before);
    }
  }
  std::vector<double> same = mask;
  made("cycles: 0")->refine(part, same);
  EXPECT_EQ(same, mask);
}

TEST(Dsnot, BringsMeanOutputsNearToTheDenseOnes) {
  const RefinedPart part = random_part(20, 400);
  std::vector<double> mask(part.weights.size());
  for (std::size_t i = 0; i < mask.size(); ++i) mask[i] = i % 2 == 0 ? 1 : 0;
  std::vector<double> refined = mask;
  made("cycles: 50")->refine(part, refined);
  double before = 0, after = 0;
  for (std::size_t row = 0; row < part.rows; ++row) {
    before += std::abs(error(part, mask, row));
    after += std::abs(error(part, refined, row));
  }
  EXPECT_LT(after, before / 4);
}

TEST(Dsnot, WeightsThatComeBackHaveTheirValues) {
  ParameterSet set(DType::f64);
  set.add({.name = "a.weight", .shape = {1, 4}});
  const std::vector<double> weights{1, 0.5, -0.9, 2};
  set.flat().assign(Tensor::from(weights, {4}));
  const Sparsifier s(parse_deck_text("{refine: {name: dsnot, cycles: 1}, scope: row}", "deck.yaml"), set);
  s.attach(set);
  s.prune(
      set, 0.5, {.inputs = [](int) {
        InputStatistics seen;
        seen.see("a.weight", Tensor::from(std::vector<double>{1, 3, 1, -1, 1.1, 3.1, 1.1, -1.1}, {2, 4}), 1);
        return seen;
      }});
  // By size 1 and 2 stay. Of the removed 0.5 * 3.05 - 0.9 * 1.05 = 0.58, 0.5 comes back and, of the shares below
  // zero that were kept, 2 * -1.05 goes.
  EXPECT_THAT(set.flat().to_vector(), testing::ElementsAre(1, 0.5, 0, 0));
}

}  // namespace
}  // namespace rankine
