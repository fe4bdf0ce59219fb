#include "src/deck/tree.hpp"

#include <algorithm>

#include "kernels/error.hpp"
#include "src/core/strings.hpp"

namespace rankine::deck {

std::string Mark::text() const {
  const std::string name = source ? *source : "defaults";
  return line == 0 ? name : name + ":" + std::to_string(line) + ":" + std::to_string(column);
}

Tree::Entry* Tree::find(std::string_view key) {
  const auto at =
      std::find_if(entries.begin(), entries.end(), [key](const Entry& e) { return e.key == key; });
  return at == entries.end() ? nullptr : &*at;
}

const Tree::Entry* Tree::find(std::string_view key) const { return const_cast<Tree*>(this)->find(key); }

void Tree::ask(std::string_view key) {
  if (std::find(asked.begin(), asked.end(), key) == asked.end()) asked.emplace_back(key);
}

void Tree::set_default(std::string_view key, std::shared_ptr<Tree> value) {
  if (Entry* entry = find(key)) {
    if (entry->is_default) entry->value = std::move(value);
    return;
  }
  entries.push_back({std::string(key), mark, std::move(value), true});
}

std::shared_ptr<Tree> copy(const Tree& tree) {
  auto result = std::make_shared<Tree>(tree);
  for (auto& item : result->items) item = copy(*item);
  for (auto& entry : result->entries) entry.value = copy(*entry.value);
  return result;
}

void merge(Tree& base, const Tree& over) {
  const bool both_mappings = base.kind == Tree::Kind::mapping && over.kind == Tree::Kind::mapping;
  const auto name_of = [](const Tree& tree) -> const Tree* {
    const Tree::Entry* entry = tree.find("name");
    return entry != nullptr && entry->value->kind == Tree::Kind::scalar ? entry->value.get() : nullptr;
  };
  const Tree* name = name_of(over);
  const bool other_component =
      both_mappings && name != nullptr && name_of(base) != nullptr && name_of(base)->scalar != name->scalar;
  if (!both_mappings || other_component) {
    base = *copy(over);
    return;
  }
  for (const Tree::Entry& entry : over.entries) {
    if (Tree::Entry* present = base.find(entry.key)) {
      merge(*present->value, *entry.value);
      present->mark = entry.mark;
      present->is_default = entry.is_default;
    } else {
      base.entries.push_back({entry.key, entry.mark, copy(*entry.value), entry.is_default});
    }
  }
}

void expand_dotted_keys(Tree& tree) {
  std::vector<Tree::Entry> given;
  given.swap(tree.entries);
  for (const Tree::Entry& entry : given) {
    const auto fail = [&entry](const std::string& what) {
      throw InputError(entry.mark.text() + ": key '" + printable(entry.key) + "': " + what);
    };
    Tree* at = &tree;
    std::size_t begin = 0;
    while (true) {
      const std::size_t end = entry.key.find('.', begin);
      const std::string part = entry.key.substr(begin, end == std::string::npos ? end : end - begin);
      if (part.empty()) fail("a part of this path is empty; write it as section.key");
      Tree::Entry* present = at->find(part);
      if (end == std::string::npos) {
        if (present != nullptr) fail("is given twice; it stands already at " + present->mark.text());
        at->entries.push_back({part, entry.mark, entry.value, false});
        break;
      }
      if (present == nullptr) {
        auto between = std::make_shared<Tree>();
        between->kind = Tree::Kind::mapping;
        between->mark = entry.mark;
        at->entries.push_back({part, entry.mark, between, false});
        present = &at->entries.back();
      }
      if (present->value->kind != Tree::Kind::mapping) {
        fail("'" + printable(part) + "' is given at " + present->mark.text() +
             " as a value, so it has no keys");
      }
      at = present->value.get();
      begin = end + 1;
    }
  }
}

namespace {

std::shared_ptr<Tree> scalar(std::string text, bool quoted) {
  auto tree = std::make_shared<Tree>();
  tree->kind = Tree::Kind::scalar;
  tree->scalar = std::move(text);
  tree->quoted = quoted;
  return tree;
}
std::shared_ptr<Tree> tree_of_value(bool v) { return scalar(v ? "true" : "false", false); }
std::shared_ptr<Tree> tree_of_value(int v) { return scalar(std::to_string(v), false); }
std::shared_ptr<Tree> tree_of_value(long v) { return scalar(std::to_string(v), false); }
std::shared_ptr<Tree> tree_of_value(double v) {
  if (v != v) return scalar(".nan", false);
  if (v - v != 0) return scalar(v > 0 ? ".inf" : "-.inf", false);
  return scalar(shortest(v), false);
}
std::shared_ptr<Tree> tree_of_value(const std::string& v) { return scalar(v, yaml_scalar(v) != v); }
template <class T>
std::shared_ptr<Tree> tree_of_value(const std::vector<T>& values) {
  auto tree = std::make_shared<Tree>();
  tree->kind = Tree::Kind::sequence;
  for (const T& v : values) tree->items.push_back(tree_of_value(v));
  return tree;
}

std::string flow(const Tree& tree) {
  switch (tree.kind) {
    case Tree::Kind::null:
      return "null";
    case Tree::Kind::scalar:
      // A text that was quoted stays text: "5" is not 5.
      return tree.quoted || !is_plain_safe(tree.scalar) ? yaml_scalar(tree.scalar) : tree.scalar;
    case Tree::Kind::sequence: {
      std::vector<std::string> parts;
      for (const auto& item : tree.items) parts.push_back(flow(*item));
      return "[" + join(parts) + "]";
    }
    case Tree::Kind::mapping: {
      std::vector<std::string> parts;
      for (const auto& entry : tree.entries)
        parts.push_back(yaml_scalar(entry.key) + ": " + flow(*entry.value));
      return "{" + join(parts) + "}";
    }
  }
  return "";
}

bool is_block(const Tree& tree) {
  if (tree.kind == Tree::Kind::mapping) return !tree.entries.empty();
  return tree.kind == Tree::Kind::sequence &&
         std::any_of(tree.items.begin(), tree.items.end(), [](const auto& item) {
           return item->kind == Tree::Kind::mapping || item->scalar.size() > 30;
         });
}

void write(const Tree& tree, int indent, std::string& out, bool continues_line) {
  const std::string spaces(static_cast<std::size_t>(indent), ' ');
  bool first = continues_line;
  const auto start_line = [&] {
    if (!first) out += spaces;
    first = false;
  };
  if (!is_block(tree)) {
    start_line();
    out += flow(tree) + "\n";
  } else if (tree.kind == Tree::Kind::mapping) {
    for (const Tree::Entry& entry : tree.entries) {
      start_line();
      out += yaml_scalar(entry.key) + ":";
      if (is_block(*entry.value)) {
        out += "\n";
        write(*entry.value, indent + 2, out, false);
      } else {
        out += " " + flow(*entry.value) + "\n";
      }
    }
  } else {
    for (const auto& item : tree.items) {
      start_line();
      out += "- ";
      write(*item, indent + 2, out, true);
    }
  }
}

}  // namespace

std::shared_ptr<Tree> tree_of(const OptionTarget& target) {
  return std::visit([](const auto* value) { return tree_of_value(*value); }, target);
}

std::string write_yaml(const Tree& tree, int indent) {
  std::string out;
  write(tree, indent, out, false);
  return out;
}

}  // namespace rankine::deck
