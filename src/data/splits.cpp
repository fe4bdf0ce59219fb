#include "src/data/splits.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "src/core/strings.hpp"

namespace rankine {

void check_disjoint(const SplitIds& ids, const DeckNode& node) {
  struct Place {
    std::int64_t id;
    Split split;
  };
  std::vector<Place> places;
  for (Split split : all_splits)
    for (std::int64_t id : ids[split]) places.push_back({id, split});
  std::stable_sort(places.begin(), places.end(), [](const Place& a, const Place& b) { return a.id < b.id; });
  std::vector<std::string> shared;
  std::size_t count = 0;
  const Place* first = nullptr;
  for (std::size_t i = 1; i < places.size(); ++i) {
    if (places[i].id != places[i - 1].id) continue;
    if (!first) first = &places[i - 1];
    if (++count <= 8) shared.push_back(std::to_string(places[i].id));
  }
  if (!first) return;
  const Split second = (first + 1)->split;
  const std::string where = first->split == second ? fmt::format("{} holds examples twice", name_of(second))
                                                   : fmt::format("{} and {} share examples",
                                                                 name_of(first->split), name_of(second));
  node.error(fmt::format("{}: {}{}; an example may be in one split only, and only once", where, join(shared),
                         count > shared.size() ? fmt::format(" and {} more", count - shared.size()) : ""));
}

void RowRanges::options(OptionVisitor& o) {
  o("train", train,
    {.help = "training rows: begin, end, begin, end, ...; counted from 0, the end not included", .min = 0});
  o("validation", validation, {.help = "rows to choose hyper-parameters on", .min = 0});
  o("test", test, {.help = "rows to measure on", .min = 0});
}

SplitIds rows_of(const RowRanges& ranges, std::int64_t count, const DeckNode& node) {
  SplitIds ids;
  const std::vector<int>* given[] = {&ranges.train, &ranges.validation, &ranges.test};
  const char* keys[] = {"train", "validation", "test"};
  for (Split split : all_splits) {
    const std::vector<int>& pairs = *given[static_cast<std::size_t>(split)];
    const char* key = keys[static_cast<std::size_t>(split)];
    if (pairs.size() % 2 != 0)
      node.error_at(key, fmt::format("{} has {} numbers; ranges are pairs: begin, end", key, pairs.size()));
    for (std::size_t i = 0; i < pairs.size(); i += 2) {
      if (pairs[i] >= pairs[i + 1] || pairs[i + 1] > count)
        node.error_at(key, fmt::format("{} has the range {} to {}; there are the rows 0 to {}, and a range "
                                       "ends after its begin",
                                       key, pairs[i], pairs[i + 1], count - 1));
      for (std::int64_t row = pairs[i]; row < pairs[i + 1]; ++row) ids[split].push_back(row);
    }
  }
  check_disjoint(ids, node);
  return ids;
}

}  // namespace rankine
