// What a deck says of its variants: where they come from and in which order it is laid over the deck.
// Internal to src/deck.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "src/deck/fragments.hpp"
#include "src/deck/tree.hpp"

namespace rankine::deck {

/// Sections of a deck that are not the experiment's.
inline constexpr std::array<const char*, 9> own_sections{
    "about", "run", "petsc_options", "checkpoint", "smoke", "variants", "expect", "use", "sweep"};
bool is_own_section(const std::string& key);

struct VariantPlan {
  std::string name;
  std::vector<std::string> names;  // by which overrides may call it: the name, and that before its sweep
  Mark mark;
  std::vector<std::shared_ptr<Tree>> layers, smoke;  // later ones over earlier ones
};

struct Plan {
  std::vector<VariantPlan> variants;
  std::vector<std::shared_ptr<Tree>> smoke;  // of the whole deck

  /// All names by which overrides may call variants.
  std::vector<std::string> names() const;
};

/// Takes `smoke`, `variants` and `sweep` out of the layers of a deck, of which the last is the deck's own
/// text. Throws InputError.
Plan plan_of(const std::vector<std::shared_ptr<Tree>>& layers, Fragments& fragments);

}  // namespace rankine::deck
