#include "src/data/dataset.hpp"

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
  static const Registry<Dataset, const DatasetContext&> table("data set", {});
  return table;
}

}  // namespace rankine
