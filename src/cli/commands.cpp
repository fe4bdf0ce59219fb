#include "src/cli/commands.hpp"

#include <algorithm>
#include <iostream>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "kernels/error.hpp"
#include "kernels/runtime.hpp"
#include "solvers/petsc_session.hpp"
#include "src/cli/doctor.hpp"
#include "src/core/console.hpp"
#include "src/core/strings.hpp"
#include "src/io/inspect.hpp"
#include "src/io/provenance.hpp"
#include "src/run/driver.hpp"

namespace rankine::cli {
namespace {

std::vector<const RegistryBase*> all_tables(const ProgramTables& tables) {
  std::vector<const RegistryBase*> all{&tables.experiments};
  all.insert(all.end(), tables.others.begin(), tables.others.end());
  return all;
}

std::string indented(const std::string& text) { return "  " + text + "\n"; }

}  // namespace

int run_deck(const Communicator& world, const Rendezvous& rendezvous, const ProgramTables& tables,
             const RunArguments& arguments) {
  Log log(std::cout, Log::style_of_stdout(world.is_root()), Log::colors_wanted());
  std::string program = arguments.argv.front();
  // A deck is checked without either: what needs Kokkos starts it, and nothing solves.
  const bool works = !arguments.check_only && !arguments.dry_run;
  std::optional<KokkosSession> kokkos;
  if (works) kokkos.emplace();
  // PETSc's options stand in the deck, which is therefore read once before PETSc starts.
  Deck deck = read_deck(world, arguments.deck, arguments.request);
  std::vector<std::string> options = deck.petsc_options();
  options.insert(options.end(), arguments.petsc_options.begin(), arguments.petsc_options.end());
  PetscSession::check_options(options);
  char* argv[] = {program.data(), nullptr};
  std::optional<PetscSession> petsc;
  if (works) petsc.emplace(1, argv, options);

  int exit_code = ExitCode::done;
  // Guarded here too: a rank that fails alone must not reach the ends of PETSc and MPI, where it would wait
  // for ever.
  rendezvous.guard([&] {
    DeckRun run(world, tables.experiments, std::move(deck), arguments.request);
    const DeckRun::Invocation invocation{arguments.argv, arguments.output,        arguments.restart,
                                         &rendezvous,    arguments.petsc_options, arguments.profile};
    if (arguments.check_only || arguments.dry_run) {
      std::vector<std::string> warnings;
      world.on_root([&] { warnings = run.check_files(invocation); });
      for (const std::string& warning : warnings) log.text("warning: " + warning + "\n");
    }
    if (arguments.check_only) {
      log.text(run.summary() + "\n");
    } else if (arguments.dry_run) {
      log.text(run.dry_run_text());
    } else {
      Console::work_begins();
      exit_code = run.run(invocation, log);
      for (const std::string& option : petsc->unused_options()) {
        log.warning("PETSc option '" + option + "' was never used; is it misspelt?");
      }
    }
  });
  return exit_code;
}

int run_info_deck(const Communicator& world, const Rendezvous& rendezvous, const ProgramTables& tables,
                  const RunArguments& arguments, const std::string& checkpoint, bool json) {
  int exit_code = ExitCode::done;
  rendezvous.guard([&] {
    const DeckRun run(world, tables.experiments, read_deck(world, arguments.deck, arguments.request),
                      arguments.request);
    world.on_root([&] {
      const CheckpointSettings then = checkpoint_settings(checkpoint);
      const std::vector<Deck::Variant>& variants = run.deck().variants();
      const bool known = std::any_of(variants.begin(), variants.end(),
                                     [&](const Deck::Variant& v) { return v.name == then.variant; });
      if (!known)
        throw InputError(checkpoint + ": belongs to variant '" + then.variant + "', which " + arguments.deck +
                         " does not have");
      const SettingsChange change = compare_settings(
          then.settings, run_settings(run.deck(), then.variant, arguments.petsc_options), then.step);
      if (json) {
        const nlohmann::ordered_json out{{"file", checkpoint},
                                         {"deck", arguments.deck},
                                         {"variant", then.variant},
                                         {"may_go_on", change.refused.empty()},
                                         {"more_steps", change.more_steps},
                                         {"differences", change.refused}};
        Console::print(out.dump(2) + "\n");
      } else {
        std::string text =
            fmt::format("{}, variant {}, against {}: ", checkpoint, then.variant, arguments.deck);
        text += change.refused.empty() ? "a restart may go on from it" : "a restart refuses it";
        if (change.more_steps) text += ", with more steps";
        for (const std::string& line : change.refused) text += "\n  " + line;
        Console::print(text + "\n");
      }
      if (!change.refused.empty()) exit_code = ExitCode::expectation_false;
    });
    world.broadcast(exit_code);
  });
  return exit_code;
}

int run_doctor(const Communicator& world, const Rendezvous& rendezvous, const std::string& program,
               bool json) {
  std::string name = program;
  const KokkosSession kokkos;
  char* argv[] = {name.data(), nullptr};
  const PetscSession petsc(1, argv, {});
  DoctorResult result;
  rendezvous.guard([&] { result = doctor(world, program, json); });
  if (world.is_root()) Console::print(result.text);
  return result.exit_code;
}

std::string list_text(const ProgramTables& tables, const std::string& kind) {
  std::vector<std::string> kinds;
  std::string text;
  for (const RegistryBase* table : all_tables(tables)) {
    kinds.push_back(table->kind());
    if (!kind.empty() && kind != table->kind()) continue;
    std::size_t width = 0;
    for (const RegistryItem& item : table->items()) width = std::max(width, item.name.size());
    text += table->kind() + "\n";
    for (const RegistryItem& item : table->items())
      text += fmt::format("  {:<{}}  {}\n", item.name, width, item.help);
    if (table->items().empty()) text += indented("(none)");
  }
  if (text.empty()) {
    const std::string hint = did_you_mean(kind, kinds);
    throw InputError("list: there is no kind '" + printable(kind) + "'" + (hint.empty() ? ";" : hint) +
                     " (kinds: " + join(kinds) + ")");
  }
  return text;
}

std::string describe_text(const ProgramTables& tables, const std::string& name,
                          OptionDescriber::Style style) {
  const bool markdown = style == OptionDescriber::Style::markdown;
  const auto heading = [&](const std::string& title, const std::string& help) {
    return (markdown ? "## " + title + "\n\n" + help + "\n\n" : title + ": " + help + "\n");
  };
  if (name == "deck") {
    AboutOptions about;
    RunOptions run;
    CheckpointOptions checkpoint;
    const std::string sections =
        "petsc_options is a list of words for PETSc; smoke is a mapping of overrides (dotted keys allowed) "
        "for --smoke; "
        "variants maps names to overrides; expect is a list of comparisons of metrics. All other sections "
        "belong to "
        "the experiment.\n";
    return heading("about", "for people") + describe_options(about, style) + "\n" +
           heading("run", "what is run, and how often") + describe_options(run, style) + "\n" +
           heading("checkpoint", "what a run saves to go on after an interruption, see run --restart") +
           describe_options(checkpoint, style) + "\n" + sections;
  }
  std::string text;
  std::vector<std::string> names{"deck"};
  for (const RegistryBase* table : all_tables(tables)) {
    for (const RegistryItem& item : table->items()) {
      names.push_back(item.name);
      if (item.name != name && table->kind() != name) continue;
      OptionDescriber describer(style);
      item.describe(describer);
      text += (text.empty() ? "" : "\n") + heading(table->kind() + " " + item.name, item.help) +
              describer.table();
    }
    names.push_back(table->kind());
  }
  if (text.empty()) {
    const std::string hint = did_you_mean(name, names);
    throw InputError("describe: nothing is called '" + printable(name) + "'" +
                     (hint.empty() ? "; `rankine list` shows all names" : hint));
  }
  return text;
}

std::string version_text() {
  const BuildInfo build = build_info();
  return fmt::format(
      "rankine {} ({}{})\ncompiler: {} ({})\nKokkos: {}\nPETSc: {}\nHDF5: {}\nMPI: {}\nBLAS: {}\n",
      build.version, build.git_revision, build.git_dirty ? ", with changes" : "", build.compiler,
      build.build_type, build.kokkos, PetscSession::version(), build.hdf5, MpiSession::library_version(),
      blas_description());
}

}  // namespace rankine::cli
