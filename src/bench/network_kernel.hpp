// A list of layers as something to be timed.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "src/bench/kernel.hpp"
#include "src/nn/network.hpp"

namespace rankine {

/// `bench.sizes` give the samples, n; m and k say nothing here.
class NetworkKernel final : public BenchKernel {
 public:
  explicit NetworkKernel(const DeckNode& node);
  static void describe(OptionVisitor& o);
  void prepare(const BenchProblem& problem) override;
  void run() override;
  double flops() const override { return flops_; }

 private:
  struct Options {
    std::vector<int> input;
    bool backward = false;
    void options(OptionVisitor& o);
  };
  Options options_;
  std::unique_ptr<Network> network_;
  std::optional<ParameterSet> parameters_;
  SharedTileSum shards_;
  Tensor x_, seed_;
  double flops_ = 0;
};

}  // namespace rankine
