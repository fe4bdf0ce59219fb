#include "src/probe/attack.hpp"
#include "src/probe/block_angle.hpp"
#include "src/probe/block_gradient.hpp"
#include "src/probe/block_removal.hpp"
#include "src/probe/calibration.hpp"
#include "src/probe/corruption.hpp"
#include "src/probe/curvature.hpp"
#include "src/probe/distance.hpp"
#include "src/probe/gate_load.hpp"
#include "src/probe/ntk.hpp"
#include "src/probe/occlusion.hpp"
#include "src/probe/out_of_distribution.hpp"
#include "src/probe/overlap.hpp"
#include "src/probe/probe.hpp"
#include "src/probe/risk_coverage.hpp"
#include "src/probe/saliency.hpp"

namespace rankine {

const Registry<Probe>& probes() {
  static const Registry<Probe> table(
      "probe",
      {
          entry<Distance>("distance", "way of the weights from where they started, by step"),
          entry<Calibration>("calibration", "whether the network is right as often as it is sure"),
          entry<RiskCoverage>("risk_coverage", "errors among the examples that the network is surest of"),
          entry<OutOfDistribution>("ood", "whether it is less sure of inputs of another kind"),
          entry<Attack>("attack", "accuracy on inputs that were changed to fool the network"),
          entry<Occlusion>("occlusion", "accuracy where the middle of an image is hidden"),
          entry<Corruption>("corruption", "accuracy on noisy and shifted inputs"),
          entry<Overlap>("overlap", "which weights are not zero, compared with a snapshot"),
          entry<GateLoad>("gate_load", "how a mixture deals examples to its experts"),
          entry<BlockGradient>("gradient_norm", "of the loss, by block"),
          entry<Curvature>("curvature", "eigenvalues and trace of the loss's Hessian"),
          entry<BlockAngle>("angle", "between each block's input and output"),
          entry<BlockRemoval>("remove", "what the loss gains where a block is left out"),
          entry<Saliency>("saliency",
                          "where in an image the network finds the class, and whether it is there"),
          entry<NeuralTangentKernel>("ntk", "Gram matrix of the gradients of the outputs"),
      });
  return table;
}

}  // namespace rankine
