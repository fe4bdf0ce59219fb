// Layers: maps with parameters from one activation to the next, which a deck's `model.blocks` lists.
//
// Activations are [L, B, ...]: the L shards of the batch that this rank holds, the B samples of a shard, then
// the shape of one sample: [C, H, W] of images, [C, T] of signals, [T, D] of sequences, [T] of tokens (i32),
// [F] of vectors. The deck fixes the number of shards (`train.shards`) and they are dealt to ranks as tiles
// are: an op acts shard by shard, what crosses shards goes through Pass::shards, and so the bits do not
// depend on the number of ranks. Parameters come as [L, shape] with stride 0 along L (ParameterSet::bind).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "src/core/random.hpp"
#include "src/deck/registry.hpp"
#include "src/nn/input_statistics.hpp"
#include "src/tensor/parameters.hpp"

namespace rankine {

struct Graph;  // src/nn/csr.hpp

/// What the network fixes for a layer.
struct LayerContext {
  std::string name;  ///< such as "block2.conv1": its parameters are called name + ".weight" and so on
  Shape input;       ///< of one sample
  DType dtype = DType::f32;
};

/// State that a network carries from one call to the next, by layer name: membrane potentials, hidden states,
/// cached keys and values. The learning rule owns it, detaches it, and decides what is kept.
using CarriedState = std::map<std::string, Tensor>;

/// Called with each block's name, input and output; what it returns takes the output's place, unless it is
/// undefined. Gradients are reached with on_gradient() from here.
using ActivationHook =
    std::function<Tensor(const std::string& name, const Tensor& input, const Tensor& output)>;

/// What blocks give beside their output.
struct SideOutputs {
  Tensor penalty;  ///< [L], on the tape: added to the loss of each shard; undefined: nothing
  std::map<std::string, Tensor> gates;  ///< weights [L, B, experts] of mixtures, by layer name; off the tape
};

/// Which of them a block gives.
struct SideLayout {
  std::vector<std::pair<std::string, std::int64_t>> gates;  ///< layer names and numbers of experts
  bool penalty = false;
};

/// One evaluation of a network: everything beside parameters and input.
struct Pass {
  SharedTileSum shards;
  /// How many such passes make the batch: more than one where a rule takes its shards one after the other.
  std::int64_t passes = 1;
  bool training = false;  ///< batch statistics and dropout are those of training
  /// Running statistics follow this pass; false for a second pass over the same batch.
  bool update_statistics = true;
  std::uint64_t seed = 0;
  std::int64_t step = 0;
  /// Which draw of random weights an evaluation sees; 0: their means.
  std::int64_t draw = 0;
  /// Ids of the samples of the local shards, [L * B]; random numbers are keyed by them. Empty: 0, 1, ...
  std::vector<std::int64_t> samples = {};
  /// Time steps or tokens that came before, where the state is carried.
  std::int64_t position = 0;
  CarriedState* state = nullptr;  ///< null: every layer starts from its initial state, and nothing is kept
  std::vector<ActivationHook> hooks =
      {};                       ///< in their order; each sees what the one before made of an output
  SideOutputs* side = nullptr;  ///< null: nobody asks
  InputStatistics* inputs =
      nullptr;  ///< where layers put the moments of what their weights multiply; or null
  std::shared_ptr<const Graph> graph = nullptr;  ///< for layers on the nodes of a graph
  /// What dropout has copied of the ids, for its next layer.
  struct {
    std::vector<std::int64_t> ids;
    Tensor copy;
  } on_device = {};

  /// Tells `inputs`, if anybody asks, that a weight multiplies x, whose features lie along an axis.
  void multiplies(const std::string& weight, const Tensor& x, int axis, bool transposed = false) const {
    if (inputs != nullptr) inputs->see(weight, x, axis, transposed);
  }
  /// The id of local sample i.
  std::int64_t sample(std::int64_t i) const {
    return samples.empty() ? i : samples[static_cast<std::size_t>(i)];
  }
};

/// The multiply-adds of one pass over one sample. Sums, norms and activations are not counted.
struct Products {
  /// Names of weights, and how often each of their entries is multiplied. Padding counts as input.
  std::vector<std::pair<std::string, double>> weights = {};
  double others = 0;    ///< of activations with activations
  double per_edge = 0;  ///< for each edge of Pass::graph

  Products& operator+=(const Products& more) {
    weights.insert(weights.end(), more.weights.begin(), more.weights.end());
    others += more.others;
    per_edge += more.per_edge;
    return *this;
  }
};

class Layer {
 public:
  explicit Layer(const LayerContext& context) : context_(context) {}
  virtual ~Layer() = default;

  const std::string& name() const { return context_.name; }
  const Shape& input() const { return context_.input; }
  DType dtype() const { return context_.dtype; }
  /// Shape of one sample's output.
  virtual Shape output() const = 0;
  /// Appends the layer's parameters, drawn from the seed and their names alone. Statistics that training
  /// keeps (running means) are frozen parts.
  virtual void add_parameters(ParameterSet& parameters, std::uint64_t seed) const {
    (void)parameters;
    (void)seed;
  }
  /// Throws InputError where training cannot take batches of `batch` samples in `shards` equal parts.
  virtual void check_batch(std::int64_t batch, std::int64_t shards) const {
    (void)batch;
    (void)shards;
  }
  /// What forward() adds to Pass::side.
  virtual SideLayout sides() const { return {}; }
  /// Whether it works on the nodes of Pass::graph.
  virtual bool needs_graph() const { return false; }
  virtual Products products() const { return {}; }
  /// x [L, B, input] to [L, B, output].
  virtual Tensor forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const = 0;

 private:
  LayerContext context_;
};

/// The table of layers; an option `name` selects.
const Registry<Layer, const LayerContext&>& layers();

}  // namespace rankine
