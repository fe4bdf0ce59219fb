// Language modelling on bytes: at every place of a window of text, the target is the next byte.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "src/data/dataset.hpp"
#include "src/data/splits.hpp"

namespace rankine {

struct TextOptions {
  std::string path = "/usr/share/common-licenses";
  std::vector<std::string> files;
  int length = 64;
  int stride = 0;
  double validation = 0.1, test = 0.1;
  std::string alphabet = "bytes";
  void options(OptionVisitor& o);
  void validate(const DeckNode& node) const;
};

/// Each file is cut into three regions, for training, validation and test in this order. The regions of a
/// split follow each other end to end, and its windows cover them. A window, including the last byte that it
/// predicts, lies within the regions of its split, so that splits share no byte. Inputs are [length] tokens;
/// targets [length] are the tokens that follow each of them. The id of a window is the position of its first
/// byte in all files end to end.
class Text final : public Dataset {
 public:
  Text(const DeckNode& node, const DatasetContext& context);
  static void describe(OptionVisitor& o) { TextOptions().options(o); }

  Shape input_shape() const override { return {options_.length}; }
  std::int64_t classes() const override { return classes_; }
  Shape target_shape() const override { return {options_.length}; }
  std::int64_t size(Split split) const override { return regions_[split].windows; }
  Examples examples(Split split, std::span<const std::int64_t> which, DType type, std::uint64_t seed,
                    std::int64_t step) const override;
  std::vector<std::pair<std::string, std::string>> sources() const override { return sources_; }

 private:
  /// The regions of one split, end to end.
  struct Regions {
    std::vector<std::uint8_t> tokens;
    std::vector<std::int64_t> begin;  ///< where each region begins in `tokens`
    std::vector<std::int64_t> place;  ///< where each region begins in all files end to end
    std::int64_t windows = 0, stride = 1;
  };
  std::vector<std::uint8_t> read(const DeckNode& node, std::vector<std::int64_t>& lengths);
  std::vector<std::string> files_of(const DeckNode& node) const;

  TextOptions options_;
  std::int64_t classes_ = 256;
  PerSplit<Regions> regions_;
  std::vector<std::pair<std::string, std::string>> sources_;
};

}  // namespace rankine
