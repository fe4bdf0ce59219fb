#include "src/deck/fragments.hpp"

#include <algorithm>
#include <array>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "kernels/error.hpp"
#include "src/core/strings.hpp"

namespace rankine {

namespace fs = std::filesystem;

namespace deck {
namespace {

constexpr int max_uses = 64;

// Sections that a fragment cannot have, because each deck says for itself what it is and claims.
constexpr std::array<const char*, 3> not_in_fragments{"about", "sweep", "expect"};

}  // namespace

std::vector<std::shared_ptr<Tree>> Fragments::take(Tree& user, const std::string& file) {
  std::vector<std::string> chain{file};
  std::vector<std::shared_ptr<Tree>> layers;
  add(user, chain, layers);
  return layers;
}

void Fragments::add(Tree& user, std::vector<std::string>& chain, std::vector<std::shared_ptr<Tree>>& layers) {
  const std::optional<Tree::Entry> use = deck::take(user, "use");
  if (!use) return;
  const std::shared_ptr<Tree> given = use->value;
  const std::vector<std::shared_ptr<Tree>> names =
      given->kind == Tree::Kind::sequence ? given->items : std::vector<std::shared_ptr<Tree>>{given};
  for (const auto& name : names) {
    if (name->kind != Tree::Kind::scalar || name->scalar.empty())
      fail(name->mark, "'use' must be a path, or a list of paths, of fragments such as models/resnet.yaml");
    if (++uses_ > max_uses)
      fail(name->mark, "fragments are used more than " + std::to_string(max_uses) + " times");
    const DeckFragment fragment = fetch(*name, chain.back());
    if (std::find(chain.begin(), chain.end(), fragment.path) != chain.end())
      fail(name->mark, "'use' goes round in a circle: " + join(chain, " -> ") + " -> " + fragment.path);
    const std::shared_ptr<Tree> tree = parse_yaml(fragment.text, fragment.path);
    if (tree->kind != Tree::Kind::mapping)
      fail(tree->mark, "a fragment must be a mapping: sections of a deck (key: value)");
    for (const Tree::Entry& entry : tree->entries) {
      if (std::find(not_in_fragments.begin(), not_in_fragments.end(), entry.key) != not_in_fragments.end())
        fail(entry.mark, "'" + entry.key + "' has no place in a fragment; write it in the deck");
    }
    chain.push_back(fragment.path);
    add(*tree, chain, layers);
    chain.pop_back();
    layers.push_back(tree);
  }
}

DeckFragment Fragments::fetch(const Tree& name, const std::string& from) {
  for (const DeckFragment& known : taken_)
    if (known.from == from && known.name == name.scalar) return known;
  if (!read_) fail(name.mark, "'use': fragments cannot be read here");
  try {
    taken_.push_back(read_(name.scalar, from));
  } catch (const InputError& error) {
    fail(name.mark, std::string("'use': ") + error.what());
  }
  return taken_.back();
}

}  // namespace deck

DeckFragment Deck::read_fragment(const std::string& name, const std::string& from) {
  const fs::path home = fs::absolute(from).lexically_normal().parent_path();
  std::vector<fs::path> folders{home};
  for (fs::path above = home; above.has_relative_path(); above = above.parent_path()) {
    if (above.filename() != "inputs") continue;
    folders.push_back(above);
    break;
  }
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (!error) {
    const fs::path installed = program.parent_path().parent_path() / "share" / "rankine" / "inputs";
    if (fs::is_directory(installed, error)) folders.push_back(installed);
  }
  std::vector<std::string> looked;
  for (const fs::path& folder : folders) {
    const fs::path path = (folder / name).lexically_normal();
    if (std::find(looked.begin(), looked.end(), path.string()) != looked.end()) continue;
    looked.push_back(path.string());
    if (!fs::exists(path, error)) continue;
    if (!fs::is_regular_file(path, error)) {
      throw InputError(printable(path.string(), 400) +
                       ": this is not a regular file; a fragment is a YAML file");
    }
    const std::string shown =
        fs::path(from).is_absolute() ? path.string() : path.lexically_proximate(fs::current_path()).string();
    return {from, name, shown, read_file(path.string())};
  }
  throw InputError("there is no fragment '" + printable(name, 400) + "'; looked for " +
                   join(looked, " and "));
}

std::string fragments_text(const std::vector<DeckFragment>& fragments) {
  nlohmann::json list = nlohmann::json::array();
  for (const DeckFragment& f : fragments)
    list.push_back({{"from", f.from}, {"name", f.name}, {"path", f.path}, {"text", f.text}});
  return list.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

FragmentReader stored_fragments(const std::string& text) {
  return [text](const std::string& name, const std::string& from) {
    try {
      for (const auto& f : nlohmann::json::parse(text)) {
        if (f.at("name") == name && f.at("from") == from)
          return DeckFragment{from, name, f.at("path").get<std::string>(), f.at("text").get<std::string>()};
      }
    } catch (const nlohmann::json::exception&) {
      throw InputError("the fragments stored with the deck are damaged; run the deck again");
    }
    throw InputError("the fragment '" + printable(name, 400) +
                     "' was not stored with the deck; run the deck again");
  };
}

}  // namespace rankine
