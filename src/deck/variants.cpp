#include "src/deck/variants.hpp"

#include <algorithm>
#include <optional>

#include "src/core/strings.hpp"
#include "src/deck/sweep.hpp"

namespace rankine::deck {
namespace {

constexpr std::size_t max_variants = 1000;

void check_name(const std::string& name, const Mark& mark) {
  const bool fits =
      !name.empty() && name.size() <= 64 && name.front() != '.' &&
      name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+.") ==
          std::string::npos;
  if (!fits) {
    fail(mark, "variant name '" + printable(name, 100) +
                   "'; allowed: up to 64 letters, digits, '_', '-', '+' and '.', which is not the first");
  }
}

void check_experiment_sections(const Tree& overrides) {
  for (const Tree::Entry& entry : overrides.entries) {
    const std::string first = entry.key.substr(0, entry.key.find('.'));
    if (is_own_section(first)) {
      fail(entry.mark,
           "'" + first + "' cannot differ between variants; a variant overrides the experiment's sections");
    }
  }
}

/// One entry of `variants`, from all layers of the deck.
struct Given {
  std::string name;
  Mark mark;
  std::vector<std::shared_ptr<Tree>> layers, smoke;
  std::optional<std::vector<SweepPoint>> own_sweep;  // replaces the deck's sweep
};

void take_smoke_sizes(std::vector<std::shared_ptr<Tree>>& smoke, Tree& layer) {
  const std::optional<Tree::Entry> entry = take(layer, "smoke");
  if (!entry) return;
  if (entry->value->kind != Tree::Kind::mapping) {
    fail(entry->value->mark, "'smoke' must be a mapping of overrides, for example {train.steps: 3}");
  }
  smoke.push_back(entry->value);
}

std::optional<std::vector<SweepPoint>> take_sweep(Tree& layer) {
  const std::optional<Tree::Entry> entry = take(layer, "sweep");
  if (!entry) return std::nullopt;
  std::vector<SweepPoint> points = sweep_points(*entry);
  for (SweepPoint& point : points) {
    std::vector<std::shared_ptr<Tree>> smoke;
    take_smoke_sizes(smoke, *point.overrides);
    check_experiment_sections(*point.overrides);
    if (smoke.empty()) continue;
    point.smoke = smoke.front();
    check_experiment_sections(*point.smoke);
    expand_dotted_keys(*point.smoke);
  }
  return points;
}

/// Adds the entry of a variant in one layer of the deck.
void add_to(Given& given, const Tree::Entry& entry, Fragments& fragments) {
  const std::shared_ptr<Tree> own = entry.value;
  given.mark = entry.mark;
  if (own->kind == Tree::Kind::null) return;
  if (own->kind != Tree::Kind::mapping) {
    fail(own->mark, "variant '" + entry.key + "' must be a mapping of overrides, or nothing");
  }
  std::vector<std::shared_ptr<Tree>> layers = fragments.take(*own, *own->mark.source), smoke;
  for (const auto& layer : layers) take_smoke_sizes(smoke, *layer);
  if (auto points = take_sweep(*own)) given.own_sweep = std::move(points);
  layers.push_back(own);
  for (auto* trees : {&layers, &smoke}) {
    for (const auto& tree : *trees) {
      check_experiment_sections(*tree);
      expand_dotted_keys(*tree);
    }
  }
  given.layers.insert(given.layers.end(), layers.begin(), layers.end());
  given.smoke.insert(given.smoke.end(), smoke.begin(), smoke.end());
}

/// Removes `variants` from the layer.
void take_variants(std::vector<Given>& all, Tree& layer, Fragments& fragments) {
  const std::optional<Tree::Entry> variants = take(layer, "variants");
  if (!variants) return;
  const Tree& tree = *variants->value;
  if (tree.kind != Tree::Kind::mapping) {
    fail(tree.mark, "'variants' must be a mapping: name of the variant: what it overrides");
  }
  if (tree.entries.empty()) fail(tree.mark, "'variants' is empty; leave it out, or name one");
  for (const Tree::Entry& entry : tree.entries) {
    check_name(entry.key, entry.mark);
    auto same = std::find_if(all.begin(), all.end(), [&](const Given& g) { return g.name == entry.key; });
    if (same == all.end()) same = all.insert(all.end(), {entry.key, entry.mark, {}, {}, std::nullopt});
    add_to(*same, entry, fragments);
  }
}

/// The variants that the entries `given` stand for: one each, or one for each point of a sweep.
std::vector<VariantPlan> make_plans(const std::vector<Given>& given, const std::vector<SweepPoint>& sweep) {
  std::vector<VariantPlan> plans;
  const auto add = [&](const Given& base, const std::string& name, std::vector<std::shared_ptr<Tree>> layers,
                       const std::shared_ptr<Tree>& smoke) {
    check_name(name, base.mark);
    for (const VariantPlan& other : plans) {
      if (other.name != name) continue;
      fail(base.mark,
           "two variants would have the name '" + name +
               "'; write the sweep as a list of overrides with `label`: [{label: small, train: {...}}]");
    }
    if (plans.size() >= max_variants)
      fail(base.mark, "the deck has more than " + std::to_string(max_variants) + " variants");
    plans.push_back({name, {name}, base.mark, std::move(layers), base.smoke});
    if (smoke) plans.back().smoke.push_back(smoke);
    if (name != base.name && !base.name.empty()) plans.back().names.push_back(base.name);
  };
  for (const Given& base : given) {
    const std::vector<SweepPoint>& points = base.own_sweep ? *base.own_sweep : sweep;
    if (points.empty()) add(base, base.name, base.layers, nullptr);
    for (const SweepPoint& point : points) {
      std::vector<std::shared_ptr<Tree>> layers = base.layers;
      layers.insert(base.own_sweep ? layers.end() : layers.begin(), point.overrides);
      add(base, base.name + (base.name.empty() ? "" : "-") + point.label, std::move(layers), point.smoke);
    }
  }
  return plans;
}

}  // namespace

bool is_own_section(const std::string& key) {
  return std::find(own_sections.begin(), own_sections.end(), key) != own_sections.end();
}

std::vector<std::string> Plan::names() const {
  std::vector<std::string> all;
  for (const VariantPlan& variant : variants)
    all.insert(all.end(), variant.names.begin(), variant.names.end());
  return all;
}

Plan plan_of(const std::vector<std::shared_ptr<Tree>>& layers, Fragments& fragments) {
  Plan plan;
  Tree& own = *layers.back();
  const Tree::Entry* entry = own.find("sweep");
  const Mark mark = entry != nullptr ? entry->mark : own.mark;
  const std::vector<SweepPoint> sweep = take_sweep(own).value_or(std::vector<SweepPoint>{});
  std::vector<Given> given;
  for (const auto& layer : layers) {
    take_smoke_sizes(plan.smoke, *layer);
    take_variants(given, *layer, fragments);
  }
  if (given.empty() && !sweep.empty()) given.push_back({"", mark, {}, {}, std::nullopt});
  plan.variants = make_plans(given, sweep);
  return plan;
}

}  // namespace rankine::deck
