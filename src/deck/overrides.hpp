// Overrides of a deck and its variants: smoke sizes and --set. Internal to src/deck.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "src/deck/variants.hpp"

namespace rankine::deck {

/// Overrides of the deck's own sections (`own`), of single variants, and of the experiment's sections.
struct Overrides {
  std::shared_ptr<Tree> own, variants, sections;
};

struct LaidOver {
  std::vector<Overrides> sizes;  // the smoke sizes, with --smoke and without it
  std::vector<Overrides> laid;   // what applies: the smoke sizes with --smoke, and then --set
};

/// Collects the overrides. Throws InputError for wrong ones; smoke sizes are checked without --smoke, too.
LaidOver laid_over(const Plan& plan, const DeckRequest& request, const std::string& file);

/// Merges `over` into the sections of a variant, which error messages call `name`.
void merge_into_variant(Tree& sections, const Tree& over, const std::string& name);

/// Merges all overrides into the sections of a variant; before them, with `with_smoke_sizes`, the smoke sizes
/// of the variant's fragments.
void lay(Tree& sections, const VariantPlan& variant, const std::vector<Overrides>& all,
         bool with_smoke_sizes);

}  // namespace rankine::deck
