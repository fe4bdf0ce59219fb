// Fashion-MNIST (H. Xiao, K. Rasul, R. Vollgraf, arXiv:1708.07747): 60,000 + 10,000 grey images of clothes,
// 28 x 28, in ten classes; or another set of images in files of the same format.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "src/data/dataset.hpp"
#include "src/data/splits.hpp"

namespace rankine {

struct FashionMnistOptions {
  struct Augmentation {
    bool flip = false;
    int shift = 0;
    void options(OptionVisitor& o);
  };
  std::string path = "/usr/share/datasets/fashion-mnist";
  int pool = 1;
  int train = 50000;
  int validation = 5000;
  int test = 10000;
  long seed = 0;
  std::string normalise = "unit";
  double label_noise = 0;
  Augmentation augmentation;
  void options(OptionVisitor& o);
};

/// Training examples are the first `train`, and validation examples the next `validation`, of a keyed
/// permutation of the training file. Test examples are the first `test` of the test file. The id of an
/// example is its number in the training file; ids of the test file continue behind these. Images are [1, H,
/// W].
class FashionMnist final : public Dataset {
 public:
  FashionMnist(const DeckNode& node, const DatasetContext& context);
  static void describe(OptionVisitor& o) { FashionMnistOptions().options(o); }

  Shape input_shape() const override { return {1, images_->height, images_->width}; }
  std::int64_t classes() const override { return 10; }
  Shape target_shape() const override { return {}; }
  std::int64_t size(Split split) const override {
    return static_cast<std::int64_t>(images_->parts[split].ids.size());
  }
  Examples examples(Split split, std::span<const std::int64_t> which, DType type, std::uint64_t seed,
                    std::int64_t step) const override;
  std::vector<std::pair<std::string, std::string>> sources() const override { return images_->sources; }

 private:
  struct Part {
    std::vector<std::uint8_t> pixels;  ///< [n, height, width]
    std::vector<std::uint16_t> sums;   ///< with pooling, instead of pixels: sums over 2 x 2 pixels
    std::vector<std::uint8_t> labels;
    std::vector<std::int64_t> ids;
  };
  struct Images {
    std::int64_t height = 0, width = 0;
    PerSplit<Part> parts;
    std::vector<std::pair<std::string, std::string>> sources;
  };
  std::shared_ptr<const Images> images(const DeckNode& node, const Communicator& communicator) const;
  void read(const DeckNode& node, Images& into) const;
  void choose(std::span<const std::uint8_t> images, std::span<const std::uint8_t> labels, std::int64_t rows,
              std::int64_t columns, std::span<const std::int64_t> which, std::int64_t first_id,
              Part& part) const;
  void add_label_noise(Part& part) const;
  void scale_pixels();

  FashionMnistOptions options_;
  std::shared_ptr<const Images> images_;
  std::vector<double> values_;  ///< the value of the network's input for each value of a pixel or sum
};

}  // namespace rankine
