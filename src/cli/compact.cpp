#include <algorithm>
#include <cstdlib>
#include <limits>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "src/cli/commands.hpp"
#include "src/core/console.hpp"
#include "src/core/strings.hpp"
#include "src/io/checkpoint.hpp"
#include "src/io/fault_file.hpp"
#include "src/io/files.hpp"
#include "src/io/inspect.hpp"
#include "src/io/weights.hpp"

namespace rankine::cli {
namespace {

/// The run that weights come from.
struct Origin {
  std::string deck, variant, group;
  bool smoke = false;
  std::int64_t done = std::numeric_limits<std::int64_t>::max();  ///< steps
};

Origin origin_in_results(const std::string& path, const std::string& group) {
  const hdf5::File file = open_results(path);
  std::vector<std::string> names;
  Origin out;
  for (const StoredRun& run : stored_runs(file.root())) {
    names.push_back(fmt::format("{}/seed_{}", run.variant, run.seed));
    const std::string whole = "runs/" + names.back();
    if (group == names.back() || group == whole || group == whole + "/weights" || group.empty())
      out.variant = run.variant, out.group = names.back();
  }
  if (out.group.empty() || (group.empty() && names.size() > 1))
    throw InputError(fmt::format("{}: {}; name one with --group: {}", path,
                                 group.empty() ? "holds several runs" : "holds no run '" + group + "'",
                                 join(names)));
  out.deck = file.root().read_text("provenance/resolved_deck");
  out.smoke = file.root().read_text("provenance/smoke") == "true";
  return out;
}

Origin origin_of(const std::string& path, const std::string& group) {
  const bool arrays_alone = path.ends_with(".npz") || path.ends_with(".safetensors");
  if (!arrays_alone && kind_of_file(path) == FileKind::results) return origin_in_results(path, group);
  if (arrays_alone || kind_of_file(path) != FileKind::checkpoint)
    throw InputError(
        path + ": --compact wants results or a checkpoint, which hold the deck that describes the network");
  const CheckpointContent content = read_checkpoint(path);
  return {content.text("resolved_deck"), content.text("variant"), "", content.text("smoke") == "yes",
          std::atol(content.text("step").c_str())};
}

WeightArrays arrays_of(const ParameterSet& parameters) {
  WeightArrays out;
  for (const ParameterInfo& part : parameters.parts()) {
    const StateValue value = value_of(parameters.view(part));
    out.push_back({part.name,
                   value.type == DType::f32 ? hdf5::Type::f32 : hdf5::Type::f64,
                   {value.shape.begin(), value.shape.end()},
                   {reinterpret_cast<const char*>(value.bytes.data()), value.bytes.size()}});
  }
  return out;
}

}  // namespace

void compact_weights(const ProgramTables& tables, const std::string& from, const std::string& to,
                     const std::string& group) {
  const OutputFile output{"convert's second file", to, FileContent::weights};
  const InputFile input{"convert's first file", from};
  const OutputClaim claim({&output, 1}, {&input, 1});
  const Origin origin = origin_of(from, group);
  const Deck deck(origin.deck, from, {});
  const auto variant = std::find_if(deck.variants().begin(), deck.variants().end(),
                                    [&](const Deck::Variant& v) { return v.name == origin.variant; });
  if (variant == deck.variants().end())
    throw InputError(fmt::format("{}: its deck has no variant '{}'", from, origin.variant));
  const Communicator self = Communicator::alone();
  const ExperimentSetup setup{self, origin.variant, {}, origin.smoke};
  const auto experiment = tables.experiments.make_named(deck.experiment_node(), variant->node, setup);
  const CompactNetwork network = experiment->compacted(from, origin.group, origin.done);
  write_weights(to, arrays_of(network.parameters));
  Console::print(fmt::format("# The weights of this network, {} numbers, are in {}\n{}",
                             network.parameters.count(), to, network.deck));
}

}  // namespace rankine::cli
