// The variants of a deck: the layers of overrides that make up each of them, and their order. Internal to
// src/deck.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "src/deck/fragments.hpp"
#include "src/deck/tree.hpp"

namespace rankine::deck {

/// The sections that belong to the deck itself. All others belong to the experiment.
inline constexpr std::array<const char*, 9> own_sections{
    "about", "run", "petsc_options", "checkpoint", "smoke", "variants", "expect", "use", "sweep"};
bool is_own_section(const std::string& key);

struct VariantPlan {
  std::string name;
  std::vector<std::string> names;  // that overrides may use: the name, and the name without its sweep values
  Mark mark;
  std::vector<std::shared_ptr<Tree>> layers, smoke;  // in increasing precedence
};

struct Plan {
  std::vector<VariantPlan> variants;
  std::vector<std::shared_ptr<Tree>> smoke;  // smoke sizes of the whole deck

  /// All names of variants that overrides may use.
  std::vector<std::string> names() const;
};

/// Removes `smoke`, `variants` and `sweep` from the layers of a deck, and makes a plan of them. The last
/// layer is the deck's own text. Throws InputError.
Plan plan_of(const std::vector<std::shared_ptr<Tree>>& layers, Fragments& fragments);

}  // namespace rankine::deck
