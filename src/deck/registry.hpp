// Tables of the components that a deck can name. Each kind has one table, which lists its entries explicitly:
// linkers drop static objects that register themselves from static libraries.
//
//   const Registry<Pde, const Grid&>& pdes() {
//     static const Registry<Pde, const Grid&> table("pde", {
//         entry<DiffusionSorption>("diffusion_sorption", "1-D diffusion with Freundlich sorption"),
//     });
//     return table;
//   }
//
// In the deck: `pde: {name: diffusion_sorption, diffusion: 5e-4}`.
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "src/core/strings.hpp"
#include "src/deck/node.hpp"
#include "src/deck/options.hpp"

namespace rankine {

/// The description of an entry, for `rankine list` and `rankine describe`.
struct RegistryItem {
  std::string name, help;
  std::function<void(OptionVisitor&)> describe;
};

/// The part of a table that does not depend on what it makes, for `rankine list` and `rankine describe`.
class RegistryBase {
 public:
  virtual ~RegistryBase() = default;
  /// The kind as messages and `rankine list` call it: "pde", "optimizer", ...
  const std::string& kind() const { return kind_; }
  const std::vector<RegistryItem>& items() const { return items_; }
  std::vector<std::string> names() const;
  /// The index of the entry `name`, or -1.
  int index_of(const std::string& name) const;

 protected:
  explicit RegistryBase(std::string kind) : kind_(std::move(kind)) {}
  /// Reads the entry's name from the key `name`, or from the node itself if that is a scalar, and returns the
  /// entry's index. A deck without a name means `fallback`; if that is "", the name is required.
  int read_name(const DeckNode& node, const std::string& fallback) const;
  /// The index of the entry that the scalar `name` names. InputError, which lists all names, if there is
  /// none.
  int find_name(const DeckNode& name) const;
  void add_item(RegistryItem item);

 private:
  std::string kind_;
  std::vector<RegistryItem> items_;
};

template <class Interface, class... Args>
class Registry : public RegistryBase {
 public:
  using Factory = std::function<std::unique_ptr<Interface>(const DeckNode&, Args...)>;
  /// Converts to an entry of any registry whose interface and arguments fit.
  struct Entry {
    RegistryItem item;
    Factory make;
  };

  Registry(std::string kind, std::initializer_list<Entry> entries) : RegistryBase(std::move(kind)) {
    for (const Entry& entry : entries) {
      add_item(entry.item);
      factories_.push_back(entry.make);
    }
  }

  /// Makes the component that `node` names: a mapping with the key `name` and the component's options, or a
  /// scalar with the name alone.
  std::unique_ptr<Interface> make(const DeckNode& node, Args... args) const {
    return factories_[static_cast<std::size_t>(read_name(node, ""))](node, std::forward<Args>(args)...);
  }
  /// The same for an optional section (DeckNode::section()): a deck without a name means `fallback`.
  std::unique_ptr<Interface> make_or(const std::string& fallback, const DeckNode& node, Args... args) const {
    return factories_[static_cast<std::size_t>(read_name(node, fallback))](node, std::forward<Args>(args)...);
  }
  /// Makes the component that the scalar `name` names. `node` holds its options and has no key `name`.
  std::unique_ptr<Interface> make_named(const DeckNode& name, const DeckNode& node, Args... args) const {
    return factories_[static_cast<std::size_t>(find_name(name))](node, std::forward<Args>(args)...);
  }

 private:
  std::vector<Factory> factories_;
};

/// The result of `entry<Class>()`, which converts to an Entry of the registry that it is listed in.
template <class Class>
struct EntryOf {
  std::string name, help;

  template <class Entry>
  requires requires(Entry e) {
    e.item;
    e.make;
  }
  operator Entry() const {  // NOLINT: implicit on purpose, a table line is an entry of its table
    return Entry{{name, help, &describe}, Maker{}};
  }

 private:
  static void describe(OptionVisitor& visitor) {
    if constexpr (requires { typename Class::Options; }) {
      typename Class::Options options;
      options.options(visitor);
    } else if constexpr (std::is_default_constructible_v<Class>) {
      Class component;
      component.options(visitor);
    } else {
      Class::describe(visitor);
    }
  }
  struct Maker {
    template <class... Args>
    std::unique_ptr<Class> operator()(const DeckNode& node, Args&&... args) const {
      if constexpr (requires { typename Class::Options; }) {
        typename Class::Options options;
        node.read(options);
        return std::make_unique<Class>(options, std::forward<Args>(args)...);
      } else if constexpr (std::is_default_constructible_v<Class>) {
        auto component = std::make_unique<Class>();
        node.read(*component);
        if constexpr (requires { component->setup(std::forward<Args>(args)...); }) {
          component->setup(std::forward<Args>(args)...);
        }
        return component;
      } else {
        return std::make_unique<Class>(node, std::forward<Args>(args)...);
      }
    }
  };
};

/// A table line for Class. Of the forms that a class can have, the first that fits is used:
/// - a nested `struct Options` with options(OptionVisitor&), and a constructor Class(const Options&,
///   Args...);
/// - default constructible with a member options(OptionVisitor&), and setup(Args...) if there are arguments;
/// - a constructor Class(const DeckNode&, Args...) and a static describe(OptionVisitor&).
template <class Class>
EntryOf<Class> entry(std::string name, std::string help) {
  return {std::move(name), std::move(help)};
}

}  // namespace rankine
