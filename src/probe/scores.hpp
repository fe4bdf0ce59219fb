// How sure a classifier is, and how that goes with being right.
#pragma once

#include <span>
#include <vector>

#include "src/tensor/tensor.hpp"

namespace rankine {

/// What a network says of one example (or one position of it).
struct Judgement {
  double confidence = 0;  ///< largest probability
  bool right = false;     ///< the first largest is that of the true class
  double log_loss = 0;    ///< -log of the true class's probability
  double brier = 0;       ///< sum over the classes of (probability - [true])^2
};

/// outputs [..., C], targets [...] i32 classes; probabilities are the softmax, in double.
std::vector<Judgement> judge(const Tensor& outputs, const Tensor& targets);

/// Expected calibration error (Guo et al., arXiv 1706.04599): sum over bins ((b - 1)/B, b/B] of the
/// confidence of share of examples * |accuracy - mean confidence|.
double calibration_error(std::span<const double> confidence, std::span<const double> right, int bins);

/// Area under the risk-coverage curve (Geifman et al., arXiv 1805.08206): mean over k of the share of errors
/// among the k examples of largest confidence (the earlier of equal ones first). `excess`: over that of the
/// best order.
struct RiskCoverageArea {
  double area = 0, excess = 0;
};
RiskCoverageArea risk_coverage_area(std::span<const double> confidence, std::span<const double> right);

/// The probability that one of `above` is larger than one of `below`, where equal ones count half: the area
/// under the ROC curve.
double ranking_probability(std::span<const double> above, std::span<const double> below);

}  // namespace rankine
