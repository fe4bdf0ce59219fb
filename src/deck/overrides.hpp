// What is laid over a deck and its variants: smoke sizes and --set. Internal to src/deck.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "src/deck/variants.hpp"

namespace rankine::deck {

/// Overrides of the deck's own sections, of single variants, and of the experiment's sections.
struct Overrides {
  std::shared_ptr<Tree> own, variants, sections;
};

struct LaidOver {
  std::vector<Overrides> sizes;  // the smoke sizes, whether they are asked for or not
  std::vector<Overrides> laid;   // these if they are, and --set, in the order of precedence
};

/// Throws InputError for what no deck can be told, in smoke sizes without --smoke too.
LaidOver laid_over(const Plan& plan, const DeckRequest& request, const std::string& file);

/// Lays `over` onto the sections of the variant `name`, which a message names.
void merge_into_variant(Tree& sections, const Tree& over, const std::string& name);

/// Lays all overrides onto the sections of a variant, behind the smoke sizes of its fragments.
void lay(Tree& sections, const VariantPlan& variant, const std::vector<Overrides>& all,
         bool with_smoke_sizes);

}  // namespace rankine::deck
