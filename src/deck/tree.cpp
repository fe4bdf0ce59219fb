#include "src/deck/tree.hpp"

#include <algorithm>
#include <charconv>

#include "kernels/error.hpp"
#include "src/core/pattern.hpp"
#include "src/core/strings.hpp"

namespace rankine::deck {

std::string Mark::text() const {
  const std::string name = source ? *source : "defaults";
  return line == 0 ? name : name + ":" + std::to_string(line) + ":" + std::to_string(column);
}

void fail(const Mark& mark, const std::string& message) { throw InputError(mark.text() + ": " + message); }

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

std::shared_ptr<Tree> empty_mapping(const Mark& mark) {
  auto tree = std::make_shared<Tree>();
  tree->kind = Tree::Kind::mapping;
  tree->mark = mark;
  return tree;
}

std::optional<Tree::Entry> take(Tree& mapping, std::string_view key) {
  const Tree::Entry* found = mapping.find(key);
  if (found == nullptr) return std::nullopt;
  const Tree::Entry entry = *found;
  mapping.entries.erase(mapping.entries.begin() + (found - mapping.entries.data()));
  return entry;
}

namespace {

// Longer lists are data, not components, and selecting among their items repeatedly would take long.
constexpr std::size_t max_items = 1000, max_pattern = 64;

const std::string* text_at(const Tree& tree, std::string_view key) {
  const Tree::Entry* entry = tree.kind == Tree::Kind::mapping ? tree.find(key) : nullptr;
  return entry != nullptr && entry->value->kind == Tree::Kind::scalar ? &entry->value->scalar : nullptr;
}

/// The name of an item of a list; null if it has none.
const std::string* item_name(const Tree& item) {
  return item.kind == Tree::Kind::scalar ? &item.scalar : text_at(item, "name");
}

[[noreturn]] void fail_at(const Tree::Entry& entry, const std::string& what) {
  fail(entry.mark, "key '" + printable(entry.key) + "': " + what);
}

/// Merges the entry's value into the items of a list in `base` that its key selects.
void merge_items(Tree& base, const ListKey& key, const Tree::Entry& entry) {
  Tree::Entry* list = base.find(key.list);
  if (list == nullptr || list->value->kind != Tree::Kind::sequence) {
    fail_at(entry,
            "it changes items of the list '" + key.list + "', and there is " +
                (list == nullptr ? "none here"
                                 : "no list of this name here, but another value at " + list->mark.text()) +
                "; give the list before it, or in what this is laid over");
  }
  if (list->value->items.size() > max_items || key.item.size() > max_pattern) {
    fail_at(entry, "it is for lists of up to " + std::to_string(max_items) + " items, and has up to " +
                       std::to_string(max_pattern) + " characters in its brackets");
  }
  const std::vector<std::size_t> chosen = chosen_items(*list->value, key.item);
  if (chosen.empty()) {
    std::vector<std::string> names, known;
    for (const auto& item : list->value->items) {
      const std::string* name = item_name(*item);
      known.push_back(name == nullptr ? "" : *name);
      names.push_back(std::to_string(names.size()) + (name == nullptr ? "" : " " + printable(*name)));
    }
    const std::string hint = did_you_mean(key.item, known);
    fail_at(entry, "the list has no such item" + (hint.empty() ? ";" : hint) +
                       " (items: " + (names.empty() ? "none" : join(names)) + ")");
  }
  for (const std::size_t i : chosen) {
    Tree& item = *list->value->items[i];
    if (item.kind == Tree::Kind::scalar && entry.value->kind == Tree::Kind::mapping) {
      const auto name = std::make_shared<Tree>(item);
      item = Tree{};
      item.kind = Tree::Kind::mapping;
      item.mark = name->mark;
      item.entries.push_back({"name", name->mark, name});
    }
    merge(item, *entry.value);
  }
}

/// The end of the part of a path that begins at `begin`: a dot outside of brackets, or the end of the path.
std::size_t end_of_part(const std::string& path, std::size_t begin) {
  const std::size_t dot = path.find('.', begin), open = path.find('[', begin);
  if (open > dot) return std::min(dot, path.size());
  const std::size_t close = path.find(']', open);
  return std::min(path.find('.', close == std::string::npos ? begin : close), path.size());
}

}  // namespace

void merge(Tree& base, const Tree& over) {
  if (over.kind != Tree::Kind::mapping) {
    base = over;
    for (auto& item : base.items) {
      const auto fresh = std::make_shared<Tree>();
      merge(*fresh, *item);
      item = fresh;
    }
    return;
  }
  const std::string *name = text_at(over, "name"), *before = text_at(base, "name");
  const bool other_component = name != nullptr && before != nullptr && *before != *name;
  if (base.kind != Tree::Kind::mapping || other_component) {
    base = over;
    base.entries.clear();
  }
  for (const Tree::Entry& entry : over.entries) {
    if (const std::optional<ListKey> key = list_key(entry.key)) {
      merge_items(base, *key, entry);
    } else if (Tree::Entry* present = base.find(entry.key)) {
      merge(*present->value, *entry.value);
      present->mark = entry.mark;
      present->is_default = entry.is_default;
    } else {
      const auto value = std::make_shared<Tree>();
      merge(*value, *entry.value);
      base.entries.push_back({entry.key, entry.mark, value, entry.is_default});
    }
  }
}

std::optional<ListKey> list_key(const std::string& key) {
  const std::size_t open = key.find('[');
  if (open == std::string::npos || open == 0 || key.back() != ']') return std::nullopt;
  ListKey result{key.substr(0, open), key.substr(open + 1, key.size() - open - 2)};
  const bool is_one = !result.item.empty() && result.item.find_first_of("[]") == std::string::npos &&
                      result.list.find_first_of("] ") == std::string::npos;
  return is_one ? std::optional(result) : std::nullopt;
}

std::vector<std::size_t> chosen_items(const Tree& list, const std::string& item) {
  std::vector<std::size_t> chosen;
  std::size_t first = 0, last = 0;
  if (parse_range(item, first, last)) {
    for (std::size_t i = first; i <= last && last < list.items.size(); ++i) chosen.push_back(i);
    return chosen;
  }
  for (std::size_t i = 0; i < list.items.size(); ++i) {
    const std::string* name = item_name(*list.items[i]);
    if (name != nullptr && matches(item, *name, true)) chosen.push_back(i);
  }
  return chosen;
}

const Tree* at_path(const Tree& tree, const std::string& path) {
  const Tree* at = &tree;
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = end_of_part(path, begin);
    const std::string part = path.substr(begin, end - begin);
    const std::optional<ListKey> key = list_key(part);
    const Tree::Entry* entry = at->kind == Tree::Kind::mapping ? at->find(key ? key->list : part) : nullptr;
    if (entry == nullptr) return nullptr;
    at = entry->value.get();
    if (key) {
      const std::vector<std::size_t> chosen = chosen_items(*at, key->item);
      if (chosen.empty()) return nullptr;
      at = at->items[chosen.front()].get();
    }
    begin = end + 1;
  }
  return at;
}

bool parse_range(const std::string& text, std::size_t& first, std::size_t& last) {
  const std::size_t dots = text.find("..");
  const auto read = [&](std::size_t begin, std::size_t end, std::size_t& value) {
    const auto [stop, code] = std::from_chars(text.data() + begin, text.data() + end, value);
    return code == std::errc() && stop == text.data() + end;
  };
  if (dots != std::string::npos) return read(0, dots, first) && read(dots + 2, text.size(), last);
  if (!read(0, text.size(), first)) return false;
  last = first;
  return true;
}

void expand_dotted_keys(Tree& tree, const std::vector<std::string>& variants) {
  std::vector<Tree::Entry> given;
  given.swap(tree.entries);
  for (const Tree::Entry& entry : given) {
    Tree* at = &tree;
    std::size_t begin = 0;
    while (true) {
      std::size_t end = end_of_part(entry.key, begin);
      if (begin > 0 && entry.key.compare(0, begin, "variants.") == 0) {
        for (const std::string& name : variants) {
          const std::size_t after = begin + name.size();
          const bool fits = entry.key.compare(begin, name.size(), name) == 0 &&
                            (after == entry.key.size() || entry.key[after] == '.');
          if (fits) end = std::max(end, after);
        }
      }
      const std::string part = entry.key.substr(begin, end - begin);
      if (part.empty()) fail_at(entry, "a part of this path is empty; write it as section.key");
      Tree::Entry* present = at->find(part);
      if (end == entry.key.size()) {
        if (present != nullptr)
          fail_at(entry, "is given twice; it stands already at " + present->mark.text());
        at->entries.push_back({part, entry.mark, entry.value, false});
        break;
      }
      if (present == nullptr) {
        at->entries.push_back({part, entry.mark, empty_mapping(entry.mark), false});
        present = &at->entries.back();
      }
      if (present->value->kind != Tree::Kind::mapping) {
        fail_at(entry, "'" + printable(part) + "' is given at " + present->mark.text() +
                           " as a value, so it has no keys");
      }
      present->value = std::make_shared<Tree>(*present->value);  // other trees may share the value
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
      // A text in quotes stays a text: "5" is not the number 5.
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
  std::size_t length = 0;  // of a line, which decks may not have too long
  for (const auto& item : tree.items) length += item->scalar.size() + 4;
  return tree.kind == Tree::Kind::sequence &&
         (length > 4000 || std::any_of(tree.items.begin(), tree.items.end(), [](const auto& item) {
            return item->kind == Tree::Kind::mapping || item->scalar.size() > 30;
          }));
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
