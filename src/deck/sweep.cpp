#include "src/deck/sweep.hpp"

#include <algorithm>

#include "src/core/strings.hpp"

namespace rankine::deck {
namespace {

constexpr std::size_t max_points = 1000;

/// The part of a variant's name that a value gives: its text, the name of a component, or the items of a
/// list.
std::string label_of(const Tree& value) {
  if (value.kind == Tree::Kind::null) return "none";
  std::string text;
  if (value.kind == Tree::Kind::scalar) text = value.scalar;
  if (value.kind == Tree::Kind::mapping) {
    const Tree::Entry* name = value.find("name");
    if (name != nullptr) text = name->value->scalar;
  }
  for (const auto& item : value.items) text += (text.empty() ? "" : "x") + label_of(*item);
  for (char& c : text) {
    const bool fits = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '_' || c == '-' || c == '+' || c == '.';
    if (!fits) c = '_';
  }
  if (text.empty()) {
    fail(value.mark,
         "no name of a variant follows from this value; write the sweep as a list of overrides with `label`: "
         "[{label: small, train: {...}}]");
  }
  return text;
}

/// The values of one key; "0..19" stands for the integers from 0 to 19.
std::vector<std::shared_ptr<Tree>> values_of(const Tree::Entry& axis) {
  const Tree& given = *axis.value;
  std::size_t first = 0, last = 0;
  const bool range = given.kind == Tree::Kind::scalar && !given.quoted &&
                     given.scalar.find("..") != std::string::npos && parse_range(given.scalar, first, last);
  if (!range && (given.kind != Tree::Kind::sequence || given.items.empty())) {
    fail(axis.mark,
         "'sweep': the values of '" + printable(axis.key) +
             "' must be a list, such as [0.1, 0.2], or whole numbers from a first to a last: 0..19");
  }
  if (!range) return given.items;
  if (first > last || last - first >= max_points) {
    fail(axis.mark, "'sweep': '" + printable(axis.key) + "': " + printable(given.scalar) +
                        " is empty or has more than " + std::to_string(max_points) + " numbers");
  }
  std::vector<std::shared_ptr<Tree>> values;
  for (std::size_t i = first; i <= last; ++i) {
    values.push_back(std::make_shared<Tree>());
    values.back()->kind = Tree::Kind::scalar;
    values.back()->mark = given.mark;
    values.back()->scalar = std::to_string(i);
  }
  return values;
}

}  // namespace

std::vector<SweepPoint> sweep_points(const Tree::Entry& sweep) {
  const Tree& given = *sweep.value;
  std::vector<SweepPoint> points;
  const auto extend = [](std::string& label, const std::string& more) {
    label += (label.empty() ? "" : "-") + more;
  };
  if (given.kind == Tree::Kind::sequence) {
    for (const auto& item : given.items) {
      if (item->kind != Tree::Kind::mapping || item->entries.empty())
        fail(item->mark,
             "'sweep': a point of the list must be a mapping of overrides, such as {train.steps: 10}");
      SweepPoint point{"", empty_mapping(item->mark)};
      const Tree::Entry* label = item->find("label");
      if (label != nullptr) point.label = label_of(*label->value);
      for (const Tree::Entry& entry : item->entries) {
        if (entry.key == "label") continue;
        if (label == nullptr) extend(point.label, label_of(*entry.value));
        point.overrides->entries.push_back(entry);
      }
      points.push_back(std::move(point));
    }
  } else if (given.kind == Tree::Kind::mapping) {
    if (!given.entries.empty()) points.push_back({"", empty_mapping(given.mark)});
    for (const Tree::Entry& axis : given.entries) {
      std::vector<SweepPoint> product;
      const std::vector<std::shared_ptr<Tree>> values = values_of(axis);
      if (values.size() * points.size() > max_points)
        fail(axis.mark, "'sweep' makes more than " + std::to_string(max_points) + " variants");
      for (const SweepPoint& point : points) {
        for (const auto& value : values) {
          product.push_back({point.label, std::make_shared<Tree>(*point.overrides)});
          extend(product.back().label, label_of(*value));
          product.back().overrides->entries.push_back({axis.key, value->mark, value});
        }
      }
      points = std::move(product);
    }
  } else if (given.kind != Tree::Kind::null) {
    fail(given.mark,
         "'sweep' must be a mapping of keys to lists of values, {train.learning_rate: [0.1, 0.2]}, or a list "
         "of overrides, [{train.steps: 10}]");
  }
  for (SweepPoint& point : points) expand_dotted_keys(*point.overrides);
  return points;
}

}  // namespace rankine::deck
