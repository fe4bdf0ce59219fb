// What training minimises, and the scores that go with it.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "src/deck/registry.hpp"
#include "src/tensor/ops.hpp"

namespace rankine {

/// Outputs and targets are [..., sample shape] with any leading axes; results keep the leading ones.
class Loss {
 public:
  virtual ~Loss() = default;
  /// Throws InputError where a network with outputs of this shape cannot learn such targets: `classes` and
  /// `target` as in Dataset.
  virtual void check(const Shape& output, std::int64_t classes, const Shape& target) const = 0;
  /// A sample's loss, on the tape. `lead`: number of leading axes.
  virtual Tensor per_sample(const Tensor& outputs, const Tensor& targets, int lead) const = 0;
  /// Names and meanings of the scores; higher or lower is better as the name says.
  virtual std::vector<std::pair<std::string, std::string>> scores() const { return {}; }
  /// A sample's scores as f64, in the order of scores(), off the tape.
  virtual std::vector<Tensor> score(const Tensor& outputs, const Tensor& targets, int lead) const {
    (void)outputs;
    (void)targets;
    (void)lead;
    return {};
  }
};

/// -log softmax(outputs)[class], mean over the positions of a sample; of targets that are probabilities
/// [..., classes] their mean of it. Score: accuracy; of probabilities, that of the class with the highest
/// score.
class CrossEntropy final : public Loss {
 public:
  struct Options {
    double smoothing = 0;
    void options(OptionVisitor& o);
  };
  explicit CrossEntropy(const Options& options) : options_(options) {}
  void check(const Shape& output, std::int64_t classes, const Shape& target) const override;
  Tensor per_sample(const Tensor& outputs, const Tensor& targets, int lead) const override;
  std::vector<std::pair<std::string, std::string>> scores() const override;
  std::vector<Tensor> score(const Tensor& outputs, const Tensor& targets, int lead) const override;

 private:
  Options options_;
};

/// -sum p log p of the softmax p along the outputs' last axis, mean over the positions of a sample, with the
/// sign turned where outputs shall be less certain.
class Entropy final : public Loss {
 public:
  void options(OptionVisitor& o);
  void check(const Shape& output, std::int64_t classes, const Shape& target) const override;
  Tensor per_sample(const Tensor& outputs, const Tensor& targets, int lead) const override;

 private:
  bool negative_ = false;
};

/// A weighted sum. Scores: those of the first term.
class LossSum final : public Loss {
 public:
  struct Term {
    double weight;
    std::unique_ptr<Loss> loss;
  };
  explicit LossSum(std::vector<Term> terms) : terms_(std::move(terms)) {}
  void check(const Shape& output, std::int64_t classes, const Shape& target) const override;
  Tensor per_sample(const Tensor& outputs, const Tensor& targets, int lead) const override;
  std::vector<std::pair<std::string, std::string>> scores() const override {
    return terms_.front().loss->scores();
  }
  std::vector<Tensor> score(const Tensor& outputs, const Tensor& targets, int lead) const override {
    return terms_.front().loss->score(outputs, targets, lead);
  }

 private:
  std::vector<Term> terms_;
};

/// mean (outputs - targets)^2. Score: none beside the loss.
class MeanSquaredError final : public Loss {
 public:
  void options(OptionVisitor&) {}
  void check(const Shape& output, std::int64_t classes, const Shape& target) const override;
  Tensor per_sample(const Tensor& outputs, const Tensor& targets, int lead) const override;
};

/// The table of losses.
const Registry<Loss>& losses();

/// The loss that the key `loss` of `train` names, or the weighted sum of its list; `fallback` where it is not
/// given. Terms of weight 0 are left out.
std::unique_ptr<Loss> read_loss(const DeckNode& train, const std::string& fallback);

}  // namespace rankine
