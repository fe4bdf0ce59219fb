#include "src/deck/node.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "kernels/error.hpp"
#include "src/core/strings.hpp"
#include "src/deck/input_path.hpp"
#include "src/deck/tree.hpp"

namespace rankine {

using deck::Tree;

namespace {

std::string kind_text(const Tree& tree) {
  switch (tree.kind) {
    case Tree::Kind::null:
      return "nothing";
    case Tree::Kind::scalar:
      return (tree.quoted ? "the quoted text '" : "'") + printable(tree.scalar) + "'";
    case Tree::Kind::sequence:
      return "a list";
    case Tree::Kind::mapping:
      return "a mapping";
  }
  return "";
}

std::string join_path(const std::string& path, std::string_view key) {
  return path.empty() ? std::string(key) : path + "." + std::string(key);
}

std::string quoted_path(const std::string& path) { return path.empty() ? "the deck" : "'" + path + "'"; }

template <class T>
std::string show(const T& value) {
  if constexpr (std::is_same_v<T, double>) {
    return shortest(value);
  } else {
    return std::to_string(value);
  }
}

// Conversions of one scalar. Each returns "", or what is wrong with the text; the caller adds what is
// allowed.
std::string convert(const Tree& tree, bool& value, const OptionMeta& /*meta*/) {
  if (tree.scalar != "true" && tree.scalar != "false") return "is not";
  value = tree.scalar == "true";
  return "";
}

template <class T>
std::string check_range(T value, const OptionMeta& meta) {
  const double v = static_cast<double>(value);
  const bool low = meta.exclusive_min ? v > meta.min : v >= meta.min;
  const bool high = meta.exclusive_max ? v < meta.max : v <= meta.max;
  const bool unlimited = std::isnan(v) && meta.allow_not_finite;
  return (low && high) || unlimited ? "" : "is out of range";
}

template <class T>
requires std::is_integral_v<T> std::string convert(const Tree& tree, T& value, const OptionMeta& meta) {
  const std::string& text = tree.scalar;
  const std::size_t sign = text.starts_with('-') || text.starts_with('+') ? 1 : 0;
  const bool digits = text.size() > sign && text.find_first_not_of("0123456789", sign) == std::string::npos;
  if (!digits) return "is not";
  if (text[sign] == '0' && text.size() > sign + 1)
    return "has leading zeros, which some readers take as octal";
  const char* begin = text.data() + (text[0] == '+' ? 1 : 0);
  const auto [end, code] = std::from_chars(begin, text.data() + text.size(), value);
  if (code == std::errc::result_out_of_range) return "is too large for an integer";
  return code == std::errc() ? check_range(value, meta) : "is not";
}

std::string convert(const Tree& tree, double& value, const OptionMeta& meta) {
  const std::string& text = tree.scalar;
  if (meta.allow_not_finite && (text == ".inf" || text == "+.inf" || text == "-.inf" || text == ".nan")) {
    value =
        text == ".nan" ? std::nan("") : (text[0] == '-' ? -1 : 1) * std::numeric_limits<double>::infinity();
    return check_range(value, meta);
  }
  return deck::parse_number(text, value) ? check_range(value, meta) : "is not";
}

std::string convert(const Tree& tree, std::string& value, const OptionMeta& meta) {
  value = tree.scalar;
  const bool fits = meta.choices.empty() ||
                    std::find(meta.choices.begin(), meta.choices.end(), value) != meta.choices.end();
  return fits ? "" : "is unknown";
}

// Reads one scalar or list. The place in an error message is that of the wrong item.
class ValueReader {
 public:
  ValueReader(const DeckNode& node, const OptionMeta& meta, std::string allowed)
      : node_(node), meta_(meta), allowed_(std::move(allowed)) {}

  template <class T>
  void operator()(T* value) const {
    read_one(node_, *value);
  }
  template <class T>
  void operator()(std::vector<T>* values) const {
    const bool one = meta_.or_one && node_.is_scalar();
    if (!node_.is_sequence() && !one) fail(node_, "is not");
    const std::vector<DeckNode> items = one ? std::vector<DeckNode>{node_} : node_.items();
    std::vector<T> read(items.size());
    for (std::size_t i = 0; i < items.size(); ++i) read_one(items[i], read[i]);
    if (read.size() < meta_.min_size || read.size() > meta_.max_size) {
      fail(node_, "has " + std::to_string(read.size()) + (read.size() == 1 ? " entry" : " entries"));
    }
    *values = std::move(read);
  }
  void operator()(std::vector<bool>* values) const = delete;

 private:
  [[noreturn]] void fail(const DeckNode& at, const std::string& what) const {
    const Tree& tree = at.tree();
    const std::string hint =
        tree.kind == Tree::Kind::scalar ? did_you_mean(tree.scalar, meta_.choices) : std::string();
    const std::string name = at.path().empty() ? std::string("the value") : "'" + at.path() + "'";
    if (what == "is not") {
      at.error(name + " is " + kind_text(tree) + "; allowed: " + allowed_ + hint);
    }
    if (tree.kind != Tree::Kind::scalar) at.error(name + " " + what + "; allowed: " + allowed_);
    at.error(name + ": " + kind_text(tree) + " " + what + "; allowed: " + allowed_ + hint);
  }

  template <class T>
  void read_one(const DeckNode& at, T& value) const {
    const Tree& tree = at.tree();
    const bool needs_plain = !std::is_same_v<T, std::string>;
    if (tree.kind != Tree::Kind::scalar || (needs_plain && tree.quoted)) fail(at, "is not");
    T read{};
    const std::string wrong = convert(tree, read, meta_);
    if (!wrong.empty()) fail(at, wrong);
    value = std::move(read);
  }

  const DeckNode& node_;
  const OptionMeta& meta_;
  std::string allowed_;
};

void read_target(const DeckNode& node, const OptionTarget& target, const OptionMeta& meta) {
  std::visit(ValueReader(node, meta, allowed_text(target, meta)), target);
}

/// Reads options from a mapping, and adds the default of each option that the mapping leaves out.
class OptionReader : public OptionVisitor {
 public:
  explicit OptionReader(DeckNode node) { stack_.push_back(std::move(node)); }

 protected:
  void value(const char* name, OptionTarget target, const OptionMeta& meta) override {
    const DeckNode& node = stack_.back();
    if (node.has(name)) {
      const DeckNode given = node.child(name);
      read_target(given, target, meta);
      if (meta.file != FileUse::none) given.take_path(std::get<std::string*>(target), meta.file);
      given.tree().snapshot = meta.snapshot;
      for (const DeckNode& item : given.is_sequence() ? given.items() : std::vector<DeckNode>())
        item.tree().snapshot = meta.snapshot;
    } else if (meta.required) {
      static_cast<void>(node.child(name));  // throws, and says what is missing
    } else {
      node.tree().set_default(name, deck::tree_of(target));
      node.tree().find(name)->value->file = meta.file;
    }
  }

  bool optional_value(const char* name, OptionTarget target, bool has_value,
                      const OptionMeta& meta) override {
    const DeckNode& node = stack_.back();
    if (node.has(name)) {
      const DeckNode given = node.child(name);
      if (given.is_null()) return false;
      read_target(given, target, meta);
      return true;
    }
    if (meta.required) static_cast<void>(node.child(name));
    node.tree().set_default(name, has_value ? deck::tree_of(target) : std::make_shared<Tree>());
    return has_value;
  }

  bool begin_group(const char* name, const char* /*help*/, bool present) override {
    const DeckNode& node = stack_.back();
    const bool given = node.has(name);
    if (!given && !present) return false;
    if (given && !present && node.child(name).is_null()) return false;
    stack_.push_back(node.section(name));
    return true;
  }

  void end_group() override {
    stack_.back().reject_unread_keys();
    stack_.pop_back();
  }

  std::optional<std::size_t> begin_list(const char* name, std::size_t /*size*/,
                                        const char* /*help*/) override {
    const DeckNode& node = stack_.back();
    if (!node.has(name)) return std::nullopt;
    const DeckNode given = node.child(name);
    if (!given.is_sequence()) {
      given.error("'" + given.path() + "' is " + kind_text(given.tree()) + "; allowed: a list of mappings");
    }
    lists_.push_back(given);
    return given.items().size();
  }

  void begin_item(std::size_t index) override {
    DeckNode item = lists_.back().items()[index];
    if (!item.is_mapping()) {
      item.error("'" + item.path() + "' is " + kind_text(item.tree()) + "; allowed: a mapping");
    }
    stack_.push_back(std::move(item));
  }

  void end_item() override { end_group(); }
  void end_list() override { lists_.pop_back(); }
  bool keeps_values() const override { return true; }

 private:
  std::vector<DeckNode> stack_, lists_;
};

}  // namespace

DeckNode::DeckNode(const std::string& where) : tree_(std::make_shared<Tree>()) {
  tree_->kind = Tree::Kind::mapping;
  tree_->mark.source = std::make_shared<const std::string>(where);
  context_ = std::make_shared<const deck::Context>();
}

DeckNode::DeckNode(std::shared_ptr<Tree> tree, std::shared_ptr<const deck::Context> context, std::string path)
    : tree_(std::move(tree)), context_(std::move(context)), path_(std::move(path)) {}

bool DeckNode::is_mapping() const { return tree_->kind == Tree::Kind::mapping; }
bool DeckNode::is_sequence() const { return tree_->kind == Tree::Kind::sequence; }
bool DeckNode::is_scalar() const { return tree_->kind == Tree::Kind::scalar; }
bool DeckNode::is_null() const { return tree_->kind == Tree::Kind::null; }

DeckNode DeckNode::copy() const { return {deck::copy(*tree_), context_, path_}; }

std::optional<long> DeckNode::integer_at(const std::string& path) const {
  const Tree* at = deck::at_path(*tree_, path);
  long value = 0;
  const bool is_one =
      at != nullptr && at->kind == Tree::Kind::scalar && !at->quoted && convert(*at, value, {}).empty();
  return is_one ? std::optional(value) : std::nullopt;
}

void DeckNode::set_integer(const std::string& path, long value) const {
  const auto over = deck::empty_mapping(tree_->mark), number = std::make_shared<Tree>();
  number->kind = Tree::Kind::scalar;
  number->mark = tree_->mark;
  number->scalar = std::to_string(value);
  over->entries.push_back({path, tree_->mark, number});
  deck::expand_dotted_keys(*over);
  deck::merge(*tree_, *over);
}

void DeckNode::drop(std::string_view key) const { deck::take(*tree_, key); }

bool DeckNode::has(std::string_view key) const {
  if (!is_mapping()) error(quoted_path(path_) + " is " + kind_text(*tree_) + "; allowed: a mapping");
  tree_->ask(key);
  const Tree::Entry* entry = tree_->find(key);
  return entry != nullptr && !entry->is_default;
}

DeckNode DeckNode::child(std::string_view key) const {
  if (!has(key)) {
    std::vector<std::string> others;
    for (const Tree::Entry& entry : tree_->entries) {
      const bool asked = std::find(tree_->asked.begin(), tree_->asked.end(), entry.key) != tree_->asked.end();
      if (!entry.is_default && !asked) others.push_back(entry.key);
    }
    const std::string similar = nearest(key, others);
    std::string message = "key '" + std::string(key) + "' is missing in " + quoted_path(path_);
    if (!similar.empty()) {
      message += "; '" + printable(similar) + "' stands at " + tree_->find(similar)->mark.text() + ": was '" +
                 std::string(key) + "' meant?";
    }
    error(message);
  }
  return DeckNode(tree_->find(key)->value, context_, join_path(path_, key));
}

DeckNode DeckNode::section(std::string_view key) const {
  if (!has(key)) {
    auto empty = std::make_shared<Tree>();
    empty->kind = Tree::Kind::mapping;
    empty->mark = tree_->mark;
    // The key may have been filled in before, by an earlier reading of the same deck.
    const Tree::Entry* before = tree_->find(key);
    if (before == nullptr || before->value->kind != Tree::Kind::mapping)
      tree_->set_default(key, std::move(empty));
  }
  DeckNode node(tree_->find(key)->value, context_, join_path(path_, key));
  if (!node.is_mapping() && !node.is_scalar()) {
    node.error(quoted_path(node.path_) + " is " + kind_text(*node.tree_) + "; allowed: a mapping");
  }
  return node;
}

DeckNode DeckNode::child_or(std::string_view key, const std::string& fallback) const {
  if (!has(key)) {
    auto value = std::make_shared<Tree>();
    value->kind = Tree::Kind::scalar;
    value->scalar = fallback;
    value->mark = tree_->mark;
    tree_->set_default(key, std::move(value));
  }
  return DeckNode(tree_->find(key)->value, context_, join_path(path_, key));
}

std::vector<std::string> DeckNode::keys() const {
  std::vector<std::string> result;
  for (const Tree::Entry& entry : tree_->entries) {
    if (!entry.is_default) result.push_back(entry.key);
  }
  return result;
}

std::vector<DeckNode> DeckNode::items() const {
  std::vector<DeckNode> result;
  for (std::size_t i = 0; i < tree_->items.size(); ++i) {
    result.emplace_back(tree_->items[i], context_, path_ + "[" + std::to_string(i) + "]");
  }
  return result;
}

std::unique_ptr<OptionVisitor> DeckNode::reader() const {
  if (!is_mapping()) error(quoted_path(path_) + " is " + kind_text(*tree_) + "; allowed: a mapping");
  return std::make_unique<OptionReader>(*this);
}

bool DeckNode::as_bool() const {
  bool value = false;
  read_target(*this, &value, {});
  return value;
}

long DeckNode::as_integer(const OptionMeta& meta) const {
  long value = 0;
  read_target(*this, &value, meta);
  return value;
}

double DeckNode::as_number(const OptionMeta& meta) const {
  double value = 0;
  read_target(*this, &value, meta);
  return value;
}

std::string DeckNode::as_text(const OptionMeta& meta) const {
  std::string value;
  read_target(*this, &value, meta);
  return value;
}

std::vector<long> DeckNode::as_integers(const OptionMeta& meta) const {
  std::vector<long> values;
  const std::vector<int> shape;  // the message about allowed values needs a target of this type
  ValueReader(*this, meta, allowed_text(const_cast<std::vector<int>*>(&shape), meta))(&values);
  return values;
}

std::vector<double> DeckNode::as_numbers(const OptionMeta& meta) const {
  std::vector<double> values;
  read_target(*this, &values, meta);
  return values;
}

std::vector<std::string> DeckNode::as_texts(const OptionMeta& meta) const {
  std::vector<std::string> values;
  read_target(*this, &values, meta);
  return values;
}

void DeckNode::reject_unread_keys() const {
  for (const Tree::Entry& entry : tree_->entries) {
    const bool known = std::find(tree_->asked.begin(), tree_->asked.end(), entry.key) != tree_->asked.end();
    if (known || entry.is_default) continue;
    const std::string keys = tree_->asked.empty() ? "(it has no keys)" : "(keys: " + join(tree_->asked) + ")";
    const std::string hint = did_you_mean(entry.key, tree_->asked);
    error_at(entry.key, "unknown key '" + printable(entry.key) + "' in " + quoted_path(path_) +
                            (hint.empty() ? ";" : hint) + " " + keys);
  }
}

std::string DeckNode::where() const { return tree_->mark.text(); }

namespace {
[[noreturn]] void throw_at(const deck::Mark& mark, const std::string& message, const deck::Context& context) {
  const std::string variant = context.variant.empty() ? "" : " (in variant '" + context.variant + "')";
  throw InputError(mark.text() + ": " + message + variant);
}
}  // namespace

void DeckNode::error(const std::string& message) const { throw_at(tree_->mark, message, *context_); }

void DeckNode::error_at(std::string_view key, const std::string& message) const {
  const Tree::Entry* entry = is_mapping() ? tree_->find(key) : nullptr;
  const bool given = entry != nullptr && !entry->is_default;
  const std::string looked = given ? entry->value->looked : "";
  throw_at(given ? entry->mark : tree_->mark, message + (looked.empty() ? "" : "; looked for " + looked),
           *context_);
}

void DeckNode::take_path(std::string* path, FileUse use) const {
  tree_->file = use;
  if (use != FileUse::input || path->empty()) return;
  const deck::InputPath found = deck::find_input(*path, context_->folder);
  if (!found.ambiguous.empty()) error("'" + path_ + "' " + found.ambiguous);
  tree_->looked = found.looked;
  *path = tree_->scalar = found.path;
}

std::string DeckNode::yaml(int indent) const { return deck::write_yaml(*tree_, indent); }

DeckNode parse_deck_text(const std::string& text, const std::string& file) {
  std::shared_ptr<Tree> tree = deck::parse_yaml(text, file);
  DeckNode node(tree, std::make_shared<const deck::Context>(), "");
  if (!node.is_mapping()) node.error("the deck is " + kind_text(*tree) + "; allowed: a mapping (key: value)");
  return node;
}

}  // namespace rankine
