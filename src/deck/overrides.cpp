#include "src/deck/overrides.hpp"

#include <algorithm>

#include "kernels/error.hpp"
#include "src/core/strings.hpp"

namespace rankine::deck {
namespace {

/// Sorts the overrides in `given`, whose keys may contain dots, by what they change. Checks that the variants
/// exist.
Overrides split(const Tree& given, const std::vector<std::string>& variants, bool may_set_expect) {
  const std::shared_ptr<Tree> nested = copy(given);
  expand_dotted_keys(*nested, variants);
  Overrides result{empty_mapping(given.mark), empty_mapping(given.mark), empty_mapping(given.mark)};
  for (const Tree::Entry& entry : nested->entries) {
    const bool fixed = entry.key == "smoke" || entry.key == "use" || entry.key == "sweep";
    if (fixed || (entry.key == "expect" && !may_set_expect)) {
      fail(entry.mark, "'" + entry.key + "' cannot be overridden here");
    }
    if (entry.key != "variants") {
      (is_own_section(entry.key) ? result.own : result.sections)->entries.push_back(entry);
      continue;
    }
    if (entry.value->kind != Tree::Kind::mapping) {
      fail(entry.mark, "'variants' must name a variant here: variants.NAME.path.to.key");
    }
    for (const Tree::Entry& variant : entry.value->entries) {
      if (std::find(variants.begin(), variants.end(), variant.key) == variants.end()) {
        const std::string hint = did_you_mean(variant.key, variants);
        fail(variant.mark,
             "unknown variant '" + printable(variant.key) + "'" + (hint.empty() ? ";" : hint) +
                 (variants.empty() ? " (the deck has none)" : " (variants: " + join(variants) + ")"));
      }
      const bool is_mapping = variant.value->kind == Tree::Kind::mapping;
      if (!is_mapping) fail(variant.mark, "a variant is a mapping of overrides: variants.NAME.path.to.key");
      expand_dotted_keys(*variant.value);
    }
    result.variants = entry.value;
  }
  return result;
}

std::shared_ptr<Tree> parse_set(const std::string& assignment) {
  const std::size_t equals = assignment.find('=');
  const std::string path = assignment.substr(0, equals);
  if (equals == std::string::npos || path.empty()) {
    throw InputError("--set " + printable(assignment) +
                     ": must be path.to.key=value, for example train.steps=50");
  }
  const std::string source = "--set " + printable(path);
  const std::string text = assignment.substr(equals + 1);
  std::shared_ptr<Tree> value;
  const bool says_null = text == "null" || text == "~" || text.find_first_not_of(" \t") == std::string::npos;
  if (says_null) {
    value = std::make_shared<Tree>();
    value->mark.source = std::make_shared<const std::string>(source);
  } else {
    value = parse_yaml(text, source, false);
  }
  auto tree = empty_mapping(value->mark);
  tree->entries.push_back({path, value->mark, value, false});
  return tree;
}

}  // namespace

LaidOver laid_over(const Plan& plan, const DeckRequest& request, const std::string& file) {
  const std::vector<std::string> known = plan.names();
  LaidOver over;
  for (const auto& tree : plan.smoke) over.sizes.push_back(split(*tree, known, false));
  if (request.smoke) {
    const bool has_sizes =
        !plan.smoke.empty() || std::any_of(plan.variants.begin(), plan.variants.end(),
                                           [](const VariantPlan& v) { return !v.smoke.empty(); });
    if (!has_sizes) {
      throw InputError(file +
                       ": --smoke was given, but the deck has no 'smoke:' section; add one, for example "
                       "smoke: {train.steps: 3}");
    }
    over.laid = over.sizes;
  }
  for (const std::string& assignment : request.set)
    over.laid.push_back(split(*parse_set(assignment), known, true));
  return over;
}

void merge_into_variant(Tree& sections, const Tree& over, const std::string& name) {
  try {
    merge(sections, over);
  } catch (const InputError& error) {
    throw InputError(error.what() + (name.empty() ? "" : " (in variant '" + name + "')"));
  }
}

void lay(Tree& sections, const VariantPlan& variant, const std::vector<Overrides>& all,
         bool with_smoke_sizes) {
  if (with_smoke_sizes) {
    for (const auto& layer : variant.smoke) merge_into_variant(sections, *layer, variant.name);
  }
  for (const Overrides& over : all) {
    merge_into_variant(sections, *over.sections, variant.name);
    // Overrides of all variants of a sweep come first, so that those of a single variant take precedence.
    for (auto name = variant.names.rbegin(); name != variant.names.rend(); ++name) {
      if (const Tree::Entry* own = over.variants->find(*name))
        merge_into_variant(sections, *own->value, variant.name);
    }
  }
}

}  // namespace rankine::deck
