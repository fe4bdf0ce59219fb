// Options: one declaration per key drives reading a deck, validation, `rankine describe` and the
// documentation.
//
//   struct AdamOptions {
//     double learning_rate = 4e-3;
//     void options(OptionVisitor& o) {
//       o("learning_rate", learning_rate, {.help = "step size", .min = 0, .exclusive_min = true});
//     }
//   };
//
// The value that a member has before the visit is its default.
#pragma once

#include <cstddef>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace rankine {

class OptionVisitor;

/// What kind of file a text option names. Inputs are looked for in the working folder and in the deck's
/// folder (src/deck/input_path.hpp). Outputs are relative to the working folder, and the kind of an output
/// decides which existing files it may replace (src/io/files.hpp).
enum class FileUse { none, input, results_output, samples_output, observations_output };

/// What an option declares beside its name, type and default.
struct OptionMeta {
  const char* help = "";
  const char* unit = "";
  /// Range of a number, or of each number of a list.
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool exclusive_min = false;
  bool exclusive_max = false;
  /// The allowed values of a string, or of each string of a list. Empty: any string.
  std::vector<std::string> choices = {};
  /// Whether the deck must give the option; there is no default then.
  bool required = false;
  /// Whether inf and nan are allowed.
  bool allow_not_finite = false;
  /// Bounds of the number of entries of a list.
  std::size_t min_size = 0;
  std::size_t max_size = std::numeric_limits<std::size_t>::max();
  /// A list of one entry may be written without brackets.
  bool or_one = false;
  /// Of a text: whether it is a path, and what for. {seed} in it stands for the seed of each run.
  FileUse file = FileUse::none;
  /// Whether a text names a snapshot of parameters: SNAPSHOT of the same variant, or VARIANT@SNAPSHOT.
  bool snapshot = false;
};

/// A pointer to an option's value; the alternatives are the types that an option may have.
using OptionTarget = std::variant<bool*, int*, long*, double*, std::string*, std::vector<int>*,
                                  std::vector<double>*, std::vector<std::string>*>;

/// Visits the options of a struct. Implementations read a deck, describe the options, or write their values.
class OptionVisitor {
 public:
  virtual ~OptionVisitor() = default;

  template <class T>
  void operator()(const char* name, T& value, const OptionMeta& meta) {
    this->value(name, OptionTarget(&value), meta);
  }

  /// An optional value. A deck that leaves the key out, or gives null, means "no value".
  template <class T>
  void operator()(const char* name, std::optional<T>& value, const OptionMeta& meta) {
    T held = value.value_or(T{});
    if (optional_value(name, OptionTarget(&held), value.has_value(), meta)) {
      value = std::move(held);
    } else {
      value.reset();
    }
  }

  /// A nested mapping; S has options(OptionVisitor&).
  template <class S>
  void group(const char* name, S& sub, const char* help) {
    if (!begin_group(name, help, true)) return;
    sub.options(*this);
    end_group();
  }

  /// An optional nested mapping.
  template <class S>
  void group(const char* name, std::optional<S>& sub, const char* help) {
    if (!begin_group(name, help, sub.has_value())) return;
    if (!sub) sub.emplace();
    sub->options(*this);
    end_group();
  }

  /// A list of mappings, each an S.
  template <class S>
  void list(const char* name, std::vector<S>& items, const char* help) {
    const std::optional<std::size_t> count = begin_list(name, items.size(), help);
    if (!count) return;
    std::vector<S> visited = items;
    visited.resize(*count);
    for (std::size_t i = 0; i < *count; ++i) {
      begin_item(i);
      visited[i].options(*this);
      end_item();
    }
    end_list();
    if (keeps_values()) items = std::move(visited);
  }

 protected:
  virtual void value(const char* name, OptionTarget target, const OptionMeta& meta) = 0;
  /// Returns whether the option has a value after the visit.
  virtual bool optional_value(const char* name, OptionTarget target, bool has_value,
                              const OptionMeta& meta) = 0;
  /// Returns whether the group's options are visited next; end_group() follows then. `present`: the group has
  /// values before the visit.
  virtual bool begin_group(const char* name, const char* help, bool present) = 0;
  virtual void end_group() = 0;
  /// The number of items to visit, or nothing to leave the list unchanged.
  virtual std::optional<std::size_t> begin_list(const char* name, std::size_t size, const char* help) = 0;
  virtual void begin_item(std::size_t index) = 0;
  virtual void end_item() = 0;
  virtual void end_list() = 0;
  /// Whether the items that were visited replace those of the struct.
  virtual bool keeps_values() const { return false; }
};

/// The options of `subject` as an aligned text table: key, type, default, allowed values, help.
/// `subject` is anything with options(OptionVisitor&).
class OptionDescriber : public OptionVisitor {
 public:
  enum class Style { text, markdown };
  explicit OptionDescriber(Style style = Style::text);
  ~OptionDescriber() override;
  /// The table of the options that have been visited by now, or a line that says that there are none.
  std::string table() const;

 protected:
  void value(const char* name, OptionTarget target, const OptionMeta& meta) override;
  bool optional_value(const char* name, OptionTarget target, bool has_value, const OptionMeta& meta) override;
  bool begin_group(const char* name, const char* help, bool present) override;
  void end_group() override;
  std::optional<std::size_t> begin_list(const char* name, std::size_t size, const char* help) override;
  void begin_item(std::size_t index) override;
  void end_item() override;
  void end_list() override;

 private:
  struct Row {
    std::string key, type, initial, allowed, help;
  };
  void add(const char* name, const OptionTarget& target, const std::string& initial, const OptionMeta& meta);
  Style style_;
  std::string prefix_;
  std::vector<std::string> outer_;
  std::vector<Row> rows_;
};

/// The values of a struct as YAML, defaults included.
class OptionDumper : public OptionVisitor {
 public:
  /// `indent`: spaces before each key.
  explicit OptionDumper(int indent = 0);
  ~OptionDumper() override;
  const std::string& yaml() const { return text_; }

 protected:
  void value(const char* name, OptionTarget target, const OptionMeta& meta) override;
  bool optional_value(const char* name, OptionTarget target, bool has_value, const OptionMeta& meta) override;
  bool begin_group(const char* name, const char* help, bool present) override;
  void end_group() override;
  std::optional<std::size_t> begin_list(const char* name, std::size_t size, const char* help) override;
  void begin_item(std::size_t index) override;
  void end_item() override;
  void end_list() override;

 private:
  void line(const std::string& text);
  int indent_;
  bool first_of_item_ = false;
  std::string text_;
};

/// The value as a deck would give it. Text is quoted if YAML would misread it; lists are [a, b].
std::string deck_text(const OptionTarget& target);

/// The text as a YAML scalar, quoted if necessary.
std::string yaml_scalar(const std::string& text);

/// The values that a deck may give for this option, such as "a whole number of at least 1".
std::string allowed_text(const OptionTarget& target, const OptionMeta& meta);

/// The table of the subject's options.
template <class S>
std::string describe_options(S& subject, OptionDescriber::Style style = OptionDescriber::Style::text) {
  OptionDescriber describer(style);
  subject.options(describer);
  return describer.table();
}

/// The subject's options and their present values as YAML.
template <class S>
std::string dump_options(S& subject, int indent = 0) {
  OptionDumper dumper(indent);
  subject.options(dumper);
  return dumper.yaml();
}

}  // namespace rankine
