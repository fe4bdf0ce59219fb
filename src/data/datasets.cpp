#include "src/data/dataset.hpp"
#include "src/data/fashion_mnist.hpp"

namespace rankine {

const char* name_of(Split split) {
  switch (split) {
    case Split::training:
      return "training";
    case Split::validation:
      return "validation";
    case Split::test:
      return "test";
  }
  return "";
}

const Registry<Dataset, const DatasetContext&>& datasets() {
  static const Registry<Dataset, const DatasetContext&> table(
      "dataset",
      {
          entry<FashionMnist>("fashion_mnist",
                              "grey images of clothes in ten classes, 28 x 28 or pooled to 14 x 14"),
      });
  return table;
}

}  // namespace rankine
