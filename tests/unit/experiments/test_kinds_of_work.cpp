// Decks of chains and of timed kernels that are refused before work starts: where, and with which remedy.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "src/run/driver.hpp"

namespace rankine {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

/// The message for a deck with these settings; "" where it is in order.
std::string refusal(const std::string& deck, const std::vector<std::string>& set,
                    const std::vector<std::string>& only = {}) {
  try {
    const DeckRequest request{.set = set, .only = only};
    const DeckRun run(Communicator::self(), experiments(), Deck(deck, "deck.yaml", request), request);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

constexpr const char* chain = R"(run: {experiment: chain}
target: {name: ising, rows: 2, columns: 3}
chain: {kernel: gibbs, sweeps: 100, burn_in: 20, thin: 4}
)";

TEST(Chains, RefuseSweepsThatDoNotFit) {
  EXPECT_EQ(refusal(chain, {}), "");
  EXPECT_THAT(refusal(chain, {"chain.thin=3"}),
              HasSubstr("thin: 3 does not divide burn_in (20) and sweeps (100)"));
  EXPECT_THAT(refusal(chain, {"chain.burn_in=100"}),
              HasSubstr("burn_in: 100 of 100 sweeps leaves no sample"));
  EXPECT_THAT(refusal(chain, {"chain.rounds=101"}), HasSubstr("rounds: 101 is more than the 100 sweeps"));
}

TEST(Chains, RefuseWhatAKernelCannotDo) {
  EXPECT_THAT(refusal(chain, {"chain.kernel=mean_field"}), HasSubstr("kernels that draw none want 0"));
  EXPECT_EQ(refusal(chain, {"chain.kernel=mean_field", "chain.burn_in=0"}), "");
  EXPECT_THAT(refusal(chain, {"chain.kernel=enumerate", "chain.burn_in=0"}),
              HasSubstr("chains: 4, but this kernel goes through all states itself; use 1"));
  EXPECT_THAT(refusal(chain, {"chain.kernel=em"}),
              AllOf(HasSubstr("--set chain.kernel"), HasSubstr("which the target does not have; use gibbs")));
}

TEST(Targets, RefuseCovariancesThatAreNone) {
  const auto gaussian = [](const std::string& options) {
    return refusal(chain, {"target={name: gaussian, " + options + "}"});
  };
  EXPECT_EQ(gaussian("covariance: [2, 1, 1, 2], mean: [0, 1]"), "");
  EXPECT_THAT(gaussian("covariance: [1, 2, 3]"), HasSubstr("3 numbers are no square matrix"));
  EXPECT_THAT(gaussian("covariance: [2, 1, 0, 2]"), HasSubstr("it is not symmetric"));
  EXPECT_THAT(gaussian("covariance: [1, 2, 2, 1]"), HasSubstr("it is not positive definite"));
  EXPECT_THAT(gaussian("covariance: [1], mean: [0, 1]"), HasSubstr("2 numbers for 1 coordinates"));
}

TEST(Expectations, MayReadMetricsOfVariantsThatAreLeftOut) {
  const auto deck = [](const std::string& expect) {
    return std::string(chain) +
           "variants:\n"
           "  sampled: {}\n"
           "  settled: {chain: {kernel: mean_field, burn_in: 0}}\n"
           "expect: [" +
           expect + "]\n";
  };
  const std::string both = deck("'max(residual[settled]) < 1', 'max(r_hat[sampled]) < 2'");
  EXPECT_EQ(refusal(both, {}), "");
  EXPECT_EQ(refusal(both, {}, {"sampled"}), "");
  EXPECT_EQ(refusal(both, {}, {"settled"}), "");
  EXPECT_THAT(refusal(deck("'max(residual[sampled]) < 1'"), {}, {"sampled"}),
              HasSubstr("unknown metric 'residual'"));
}

constexpr const char* bench = R"(run: {experiment: bench}
bench: {kernel: csr, against: [product]}
)";

TEST(Bench, RefusesListsThatAreNoneAndNamesThatAreThere) {
  EXPECT_EQ(refusal(bench, {}), "");
  EXPECT_THAT(refusal(bench, {"bench.against=product"}), HasSubstr("'against' must be a list of kernels"));
  EXPECT_THAT(refusal(bench, {"bench.against=[csr]"}), HasSubstr("csr: is there already"));
  EXPECT_EQ(refusal(bench, {"bench.against=[{name: csr, label: again}]"}), "");
  EXPECT_THAT(refusal(bench, {"bench.sizes=[]"}), HasSubstr("sizes: there is none"));
  EXPECT_EQ(
      refusal(bench, {"bench.kernel={name: csr, outputs: 8}", "bench.structure={name: block, outputs: 8}"}),
      "");
  EXPECT_THAT(refusal(bench, {"bench.kernel={name: csr, outputs: 7}"}),
              HasSubstr("256x196x256 has 256 rows, which blocks of 7 outputs do not fill"));
  EXPECT_THAT(refusal(bench, {"bench.structure={name: n_m, m: 4}", "bench.density=0.3"}),
              HasSubstr("no whole number"));
  EXPECT_THAT(refusal(bench, {"bench.structure={name: n_m, m: 7}"}), HasSubstr("which 7 does not divide"));
  const auto network = [](const std::string& blocks) {
    return refusal(bench, {"bench.kernel={name: network, input: [4, 2], blocks: " + blocks + "}"});
  };
  EXPECT_EQ(network("[{name: dense, units: 3}]"), "");
  EXPECT_THAT(network("[]"), HasSubstr("'blocks' must be a list of layers"));
  EXPECT_THAT(network("[{name: graph_conv, units: 3}]"), HasSubstr("nodes of a graph, and there is none"));
}

}  // namespace
}  // namespace rankine
