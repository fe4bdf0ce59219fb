// The constraint on the discretised equation in conservative form: solves and losses of whole samples.
#pragma once

#include "src/experts/storage_batch.hpp"

namespace rankine {

std::unique_ptr<ConstraintLayer> make_storage_layer(std::shared_ptr<const StorageSetup> setup);

}  // namespace rankine
