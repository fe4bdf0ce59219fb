// What probes have in common that give numbers to blocks of a network, over the first examples of a split.
#pragma once

#include <string>
#include <vector>

#include "src/probe/probe.hpp"

namespace rankine {

struct BlockProbeOptions {
  std::string every = "end", on = "validation";
  int examples = 256;
  std::vector<int> blocks{};
  void options(OptionVisitor& o);
  void validate(const DeckNode& node) const;

 protected:
  bool zero_is_all_ = false;  ///< 0 examples stand for all of the split
};

class BlockProbe : public StepProbe {
 public:
  void check(const ProbeSetup& setup) const override;
  /// The number of the last measurement.
  std::vector<double> measured() const override;
  std::vector<std::int64_t> steps(std::int64_t total) const override;
  void begin(const ProbeRun& run, StateRegistry& state, const std::string& prefix) override;

 protected:
  explicit BlockProbe(const BlockProbeOptions& common) : common_(common) {}
  /// The blocks that are measured: here those whose output has the shape of their input. Throws InputError
  /// where there are none.
  virtual std::vector<int> blocks(const Network& network) const;

  std::vector<double> values_;  // one of each measurement

 private:
  BlockProbeOptions common_;
};

}  // namespace rankine
