#include "src/nn/layer.hpp"
#include "src/nn/layers/activation.hpp"
#include "src/nn/layers/attention.hpp"
#include "src/nn/layers/composite.hpp"
#include "src/nn/layers/conv.hpp"
#include "src/nn/layers/dense.hpp"
#include "src/nn/layers/dropout.hpp"
#include "src/nn/layers/embedding.hpp"
#include "src/nn/layers/graph_conv.hpp"
#include "src/nn/layers/mixture.hpp"
#include "src/nn/layers/norm.hpp"
#include "src/nn/layers/pooling.hpp"
#include "src/nn/layers/recurrent.hpp"
#include "src/nn/layers/sparse.hpp"
#include "src/nn/layers/spiking.hpp"

namespace rankine {

const Registry<Layer, const LayerContext&>& layers() {
  static const Registry<Layer, const LayerContext&> table(
      "block", {
                   entry<Dense>("dense", "linear layer along the last axis"),
                   entry<SparseProduct<0>>("sparse_dense", "dense with weights in given places alone"),
                   entry<SparseProduct<2>>("sparse_conv2d", "1 x 1 convolution with weights in given places"),
                   entry<Flatten>("flatten", "a sample as one vector"),
                   entry<Conv<1>>("conv1d", "convolution of signals [channels, time]"),
                   entry<Conv<2>>("conv2d", "convolution of images [channels, height, width]"),
                   entry<ConvTranspose<1>>("conv_transpose1d", "adjoint of a convolution of signals"),
                   entry<ConvTranspose<2>>("conv_transpose2d", "adjoint of a convolution of images"),
                   entry<MaxPool>("max_pool", "largest value of windows"),
                   entry<AveragePool>("average_pool", "mean of windows"),
                   entry<GlobalAveragePool>("global_average_pool", "mean of each channel"),
                   entry<Upsample>("upsample", "each value repeated along space"),
                   entry<BatchNorm>("batch_norm", "channels normalised over the batch"),
                   entry<LayerNorm>("layer_norm", "trailing axes of a sample normalised"),
                   entry<GroupNorm>("group_norm", "groups of channels of a sample normalised"),
                   entry<RmsNorm>("rms_norm", "trailing axes of a sample divided by their root mean square"),
                   entry<Dropout>("dropout", "values dropped at random in training"),
                   entry<Residual>("residual", "two 3x3 convolutions beside a shortcut"),
                   entry<Skip>("skip", "x + blocks(x)"),
                   entry<Chain>("chain", "blocks in a row as one block"),
                   entry<Mixture>("moe", "experts, and a gate that weighs them for each sample"),
                   entry<Activation<Plain<relu>>>("relu", "max(x, 0)"),
                   entry<Activation<LeakyReluOptions>>("leaky_relu", "x, with a small slope below 0"),
                   entry<Activation<Plain<sigmoid>>>("sigmoid", "1 / (1 + exp(-x))"),
                   entry<Activation<Plain<silu>>>("silu", "x / (1 + exp(-x))"),
                   entry<Activation<SoftplusOptions>>("softplus", "log(1 + exp(b x)) / b"),
                   entry<Activation<EluOptions>>("elu", "x, or alpha (exp(x) - 1) below 0"),
                   entry<Activation<Plain<selu>>>("selu", "elu with self-normalising constants"),
                   entry<Activation<Plain<tanh>>>("tanh", "hyperbolic tangent"),
                   entry<Activation<Plain<gelu>>>("gelu", "x/2 (1 + tanh(...)), the Gaussian's gate"),
                   entry<Activation<SinOptions>>("sin", "sin(w x)"),
                   entry<Embedding>("embedding", "vectors of tokens"),
                   entry<Position>("position", "adds what stands for a token's place"),
                   entry<TiedHead>("tied_head", "scores of tokens by the embedding's own table"),
                   entry<Attention>("attention", "attention with heads between the tokens of a sequence"),
                   entry<Transformer>("transformer", "attention and a perceptron with residual connections"),
                   entry<Lif>("lif", "leaky integrate-and-fire neurons, one time step a call"),
                   entry<Rnn>("rnn", "recurrent layer with tanh units"),
                   entry<Lstm>("lstm", "recurrent layer with long short-term memory"),
                   entry<Gru>("gru", "recurrent layer with gated units"),
                   entry<GraphConv>("graph_conv", "convolution on the nodes of a graph"),
                   entry<GraphAttention>("graph_attention", "attention along the edges of a graph"),
               });
  return table;
}

}  // namespace rankine
