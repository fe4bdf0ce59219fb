// Images in which the place of the object is known.
#pragma once

#include <memory>

#include "src/data/dataset.hpp"

namespace rankine {

struct CanvasOptions {
  double background = 0.5;
  long seed = 0;
  void options(OptionVisitor& o);
};

/// Images [C, h, w] of another data set, each of which is put into one quadrant of a canvas [C, 2 h, 2 w]
/// with a striped background. Quadrant and stripes are keyed by the id of the image.
class Canvas final : public Dataset {
 public:
  Canvas(const DeckNode& node, const DatasetContext& context);
  static void describe(OptionVisitor& o);

  Shape input_shape() const override;
  std::int64_t classes() const override { return items_->classes(); }
  Shape target_shape() const override { return items_->target_shape(); }
  std::int64_t size(Split split) const override { return items_->size(split); }
  Examples examples(Split split, std::span<const std::int64_t> which, DType type, std::uint64_t seed,
                    std::int64_t step) const override;
  std::optional<ImageBox> box(std::int64_t id) const override;
  std::vector<std::pair<std::string, std::string>> sources() const override { return items_->sources(); }

 private:
  CanvasOptions options_;
  std::unique_ptr<Dataset> items_;
};

}  // namespace rankine
