#include "src/deck/registry.hpp"

#include "kernels/error.hpp"
#include "src/deck/tree.hpp"

namespace rankine {

std::vector<std::string> RegistryBase::names() const {
  std::vector<std::string> result;
  for (const RegistryItem& item : items_) result.push_back(item.name);
  return result;
}

int RegistryBase::index_of(const std::string& name) const {
  for (std::size_t i = 0; i < items_.size(); ++i) {
    if (items_[i].name == name) return static_cast<int>(i);
  }
  return -1;
}

void RegistryBase::add_item(RegistryItem item) {
  RANKINE_ASSERT(index_of(item.name) < 0,
                 "two entries named '" + item.name + "' in the table of " + kind_ + "s");
  items_.push_back(std::move(item));
}

int RegistryBase::read_name(const DeckNode& node, const std::string& fallback) const {
  if (node.is_scalar()) {  // a name alone is short for the mapping {name: ...}
    deck::Tree& tree = node.tree();
    auto name = std::make_shared<deck::Tree>(tree);
    tree.kind = deck::Tree::Kind::mapping;
    tree.quoted = false;
    tree.scalar.clear();
    tree.entries.push_back({"name", tree.mark, std::move(name), false});
  }
  const DeckNode given = fallback.empty() ? node.child("name") : node.child_or("name", fallback);
  return find_name(given);
}

int RegistryBase::find_name(const DeckNode& name) const {
  const std::string text = name.as_text();
  const int index = index_of(text);
  if (index < 0) {
    const std::string hint = did_you_mean(text, names());
    name.error("unknown " + kind_ + " '" + printable(text) + "'" + (hint.empty() ? ";" : hint) + " (" +
               kind_ + "s: " + join(names()) + ")");
  }
  return index;
}

}  // namespace rankine
