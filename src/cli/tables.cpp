#include "src/bench/kernel.hpp"
#include "src/chain/kernel.hpp"
#include "src/cli/program.hpp"
#include "src/data/dataset.hpp"
#include "src/data/transforms/transform.hpp"
#include "src/nn/gate.hpp"
#include "src/nn/layer.hpp"
#include "src/nn/loss.hpp"
#include "src/nn/model.hpp"
#include "src/nn/parametrisation/parametrisation.hpp"
#include "src/nn/transforms.hpp"
#include "src/optim/after_step.hpp"
#include "src/optim/optimizer.hpp"
#include "src/optim/schedule.hpp"
#include "src/pde/pdes.hpp"
#include "src/probe/probe.hpp"
#include "src/rules/gradient_transforms.hpp"
#include "src/rules/learning_rule.hpp"
#include "src/rules/penalties.hpp"
#include "src/sparse/criterion.hpp"
#include "src/sparse/density_schedule.hpp"
#include "src/sparse/refinement.hpp"
#include "src/sparse/regrowth.hpp"
#include "src/sparse/structure.hpp"
#include "src/train/average.hpp"

namespace rankine {

ProgramTables program_tables() {
  return {experiments(),
          {&pdes(),
           &models(),
           &layers(),
           &gates(),
           &gate_searches(),
           &datasets(),
           &losses(),
           &rules(),
           &optimizers(),
           &schedules(),
           &criteria(),
           &density_schedules(),
           &structures(),
           &regrowths(),
           &refinements(),
           &transforms(),
           &penalties(),
           &probes(),
           &parametrisations(),
           &network_transforms(),
           &gradient_transforms(),
           &step_operations(),
           &averages(),
           &bench_kernels(),
           &chain_targets(),
           &chain_kernels()}};
}

}  // namespace rankine
