// Changes of a finished network that leave its outputs as they are, up to rounding: blocks and parameters
// become others. They act on units (of dense blocks on vectors, channels of convolutions without groups)
// whose values only meet blocks that treat each unit by itself (activations, pooling, batch norm, flatten, depthwise
// convolutions) before the next dense block or convolution.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "src/nn/network.hpp"

namespace rankine {

/// A network taken apart; values in double.
class FinishedNetwork {
 public:
  struct Part {
    Shape shape;
    std::vector<double> values, mask = {};  ///< mask: empty where there is none
  };
  struct Block {
    DeckNode node;
    std::string kind;                   ///< "dense"
    std::map<std::string, Part> parts;  ///< by what follows the block's name: ".weight"
  };
  /// What feeds what: units of block `from` are columns of block `to`.
  struct Edge {
    std::size_t from, to;
    std::size_t units;
  };

  /// The network that `model` describes for samples of shape `input`; its weights are zero where they are
  /// masked. InputError for models with `parametrise`.
  FinishedNetwork(const DeckNode& model, const Shape& input, const ParameterSet& parameters);

  std::vector<Block>& blocks() { return blocks_; }
  std::vector<Edge> edges() const;
  /// What a deck's `model` says of it, as YAML.
  std::string model(int indent = 0) const;
  Network network() const;
  /// Of network().
  ParameterSet parameters(const Network& network) const;
  /// Writes values and masks into a network of the same model.
  void write(ParameterSet& parameters) const;

  /// Unit i becomes what unit from[i] was; what it feeds is multiplied by factors[i].
  void select(const Edge& edge, const std::vector<std::size_t>& from, const std::vector<double>& factors);
  /// The bias of a dense block or a convolution, of zeros if it had none.
  std::vector<double>& bias(std::size_t block);

 private:
  DType type_;
  Shape input_;
  std::vector<Block> blocks_;
};

class NetworkTransform {
 public:
  virtual ~NetworkTransform() = default;
  virtual void apply(FinishedNetwork& network, std::uint64_t seed) const = 0;
};

/// Each batch norm behind a dense block on vectors or a convolution goes into its weights and bias.
class FoldNorm final : public NetworkTransform {
 public:
  void options(OptionVisitor&) {}
  void apply(FinishedNetwork& network, std::uint64_t seed) const override;
};

/// Orders units by the norm of their weights, the largest first, or at random; or gathers those that take up the
/// same inputs in groups, for pruning by blocks: greedily, beginning with the largest unit that is left, the one
/// with which the group keeps the most, |w| summed over the part `density` of its columns with the largest sums.
class PermuteUnits final : public NetworkTransform {
 public:
  struct Options {
    std::string by = "norm";
    int group = 8;
    double density = 0.5;
    void options(OptionVisitor& o);
  };
  explicit PermuteUnits(const Options& options) : options_(options) {}
  void apply(FinishedNetwork& network, std::uint64_t seed) const override;

 private:
  Options options_;
};

/// Removes units that feed nothing, and those with no weights left, whose constant goes into the biases that
/// they feed. Before a convolution that sees zeros around its input, a constant other than 0 stays.
class Compact final : public NetworkTransform {
 public:
  void options(OptionVisitor&) {}
  void apply(FinishedNetwork& network, std::uint64_t seed) const override;
};

/// More units, which are copies of others drawn at random; a unit and its copies share what it fed (Net2Wider:
/// Chen et al., arXiv 1511.05641, section 3.1, with equal shares).
class Widen final : public NetworkTransform {
 public:
  struct Options {
    double factor = 2;
    void options(OptionVisitor& o);
  };
  explicit Widen(const Options& options) : options_(options) {}
  void apply(FinishedNetwork& network, std::uint64_t seed) const override;

 private:
  Options options_;
};

/// Dense blocks and 1 x 1 convolutions with few weights other than 0 keep these alone, in blocks of 8 or 4
/// neighbouring outputs where the zeros come so (sparse_dense, sparse_conv2d).
class KeepNonZeros final : public NetworkTransform {
 public:
  struct Options {
    double density = 0.4, block_density = 0.85;
    void options(OptionVisitor& o);
  };
  explicit KeepNonZeros(const Options& options) : options_(options) {}
  void apply(FinishedNetwork& network, std::uint64_t seed) const override;

 private:
  Options options_;
};

/// The table of transforms that a deck's `after` can name.
const Registry<NetworkTransform>& network_transforms();

}  // namespace rankine
