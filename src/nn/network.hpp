// A network as a list of blocks: what a deck's `model:` describes for experiments on data.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "src/nn/layer.hpp"
#include "src/nn/parametrisation/parametrisation.hpp"

namespace rankine {

/// Blocks in a row. Learning rules see the edges between them.
class Network {
 public:
  /// Blocks called prefix0, prefix1, ...; `repeat: n` in one makes n in a row. Throws InputError, with the
  /// block's place in the deck, where a block does not fit the output of the one before.
  Network(const std::vector<DeckNode>& blocks, const Shape& input, DType dtype,
          const std::string& prefix = "block");
  /// The same of layers made elsewhere, each of which fits the one before.
  explicit Network(std::vector<std::unique_ptr<Layer>> blocks);

  int size() const { return static_cast<int>(blocks_.size()); }
  const Layer& block(int i) const { return *blocks_[static_cast<std::size_t>(i)]; }
  const Shape& input() const { return blocks_.front()->input(); }
  Shape output() const { return blocks_.back()->output(); }
  DType dtype() const { return blocks_.front()->dtype(); }
  /// Those of all blocks.
  SideLayout sides() const;
  Products products() const;

  /// Expresses the parts that an item of `model.parametrise` names in its way. InputError, with the item's
  /// place, where it names none, or one that another item names.
  void parametrise(const DeckNode& item);
  bool parametrised() const { return !parametrised_.empty(); }
  /// Whether a parameter comes from there, and not from a layer.
  bool added(const std::string& parameter) const;

  /// Fresh parameters of all blocks, those of one block side by side.
  ParameterSet initial_parameters(std::uint64_t seed) const;
  /// Puts what `parametrise` makes of the weights in their place.
  void express(BoundParameters& parameters, const Pass& pass) const;
  /// x [L, B, input] to [L, B, output], through blocks begin .. end - 1 (end = -1: to the last).
  Tensor forward(const BoundParameters& parameters, const Tensor& x, Pass& pass, int begin = 0,
                 int end = -1) const;
  /// How many draws of random weights an evaluation takes the mean over (Pass::draw); 0: it sees their means.
  std::int64_t draws() const;

 private:
  /// An item of `model.parametrise`.
  struct Expressed {
    std::shared_ptr<const Parametrisation> how;
    std::vector<std::string> names;
  };
  /// The one that names this part, or null.
  const Expressed* expressed(const std::string& part) const;

  std::vector<std::unique_ptr<Layer>> blocks_;
  std::vector<Expressed> parametrised_;
};

/// What a deck's `model:` says: precision, blocks, and parametrise.
struct NetworkOptions {
  std::string precision = "float";
  DType dtype() const { return precision == "double" ? DType::f64 : DType::f32; }
  void options(OptionVisitor& o);
};

/// The network that `model` (keys precision, blocks, parametrise) describes, for samples of shape `input`, with
/// blocks called prefix0, prefix1, ...
Network read_network(const DeckNode& model, const Shape& input, const std::string& prefix = "block");

}  // namespace rankine
