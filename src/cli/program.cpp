#include "src/cli/program.hpp"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstring>
#include <exception>
#include <iostream>
#include <new>
#include <optional>

#include "kernels/error.hpp"
#include "src/cli/catalogue.hpp"
#include "src/cli/commands.hpp"
#include "src/core/console.hpp"
#include "src/core/strings.hpp"
#include "src/io/hdf5.hpp"
#include "src/io/info.hpp"
#include "src/io/weights.hpp"
#include "src/run/driver.hpp"
#include "src/run/merge.hpp"

namespace rankine {
namespace {

void print_failure(const std::string& message) {
  std::cerr << "rankine: error: " + message + "\n" << std::flush;
}

std::string message_of(const std::exception& failure) {
  if (dynamic_cast<const std::bad_alloc*>(&failure) != nullptr) {
    return "memory is out; --dry-run estimates what a deck needs, more ranks need less each";
  }
  return failure.what();
}

/// The arguments, parsed, and what to do with them.
class CommandLine {
 public:
  CommandLine(int argc, char** argv, const ProgramTables& tables) : tables_(tables) {
    run_.argv.assign(argv, argv + argc);
    int count = argc;
    for (int i = 1; i < argc; ++i) {
      if (std::strcmp(argv[i], "--") != 0) continue;
      run_.petsc_options.assign(argv + i + 1, argv + argc);
      count = i;
      break;
    }
    declare();
    parse(count, argv);
  }

  /// Whether it does work. All else only reads and says something, and is over sooner than MPI starts.
  bool works() const {
    return finished_.empty() && ((run_command_->parsed() && !run_.dry_run) || doctor_command_->parsed() ||
                                 catalogue_run_->parsed());
  }

  /// Returns the exit code. Collective.
  int execute(const Communicator& world, const Rendezvous& rendezvous) {
    const auto say = [&](const std::string& text) {
      if (world.is_root()) Console::print(text);
    };
    if (!finished_.empty()) {
      say(finished_);
      return ExitCode::done;
    }
    const bool with_deck = info_command_->parsed() && !run_.deck.empty();
    if (!run_.petsc_options.empty() && !run_command_->parsed() && !check_command_->parsed() && !with_deck) {
      throw InputError("what follows '--' are PETSc options, which only run, check and info --deck take");
    }
    if (!weights_.empty()) {
      std::string quoted;
      for (const char c : weights_) quoted += c == '\'' ? std::string("''") : std::string(1, c);
      run_.request.set.push_back("train.weights='" + quoted + "'");
    }
    if (run_command_->parsed()) return cli::run_deck(world, rendezvous, tables_, run_);
    if (info_command_->parsed() && !run_.deck.empty())
      return cli::run_info_deck(world, rendezvous, tables_, run_, first_, json_);
    if (doctor_command_->parsed()) return cli::run_doctor(world, rendezvous, run_.argv.front(), json_);
    if (catalogue_run_->parsed()) {
      catalogue_.folder = folder_;
      catalogue_.run = run_;
      return cli::run_catalogue(world, rendezvous, tables_, catalogue_);
    }
    if (check_command_->parsed()) {
      run_.check_only = true;
      return cli::run_deck(world, rendezvous, tables_, run_);
    }
    int exit_code = ExitCode::done;
    world.on_root([&] {
      using Style = OptionDescriber::Style;
      if (list_command_->parsed())
        say(name_ == "catalogue" ? cli::Catalogue(folder_).text() : cli::list_text(tables_, name_));
      if (catalogue_list_->parsed()) say(cli::Catalogue(folder_).text());
      if (catalogue_status_->parsed()) say(cli::Catalogue(folder_).status());
      if (describe_command_->parsed()) {
        say(cli::describe_text(tables_, name_, markdown_ ? Style::markdown : Style::text));
      }
      if (info_command_->parsed()) say(json_ ? info_json(first_) + "\n" : info_text(first_));
      if (compare_command_->parsed()) exit_code = compare();
      if (convert_command_->parsed() && compact_)
        cli::compact_weights(tables_, first_, second_, group_);
      else if (convert_command_->parsed())
        convert_weights(first_, second_, group_);
    });
    world.broadcast(exit_code);
    return exit_code;
  }

 private:
  void declare() {
    app_.require_subcommand(1);
    app_.set_help_flag("-h,--help", "Print this help");
    app_.add_flag_function(
        "--version", [](std::int64_t) { throw CLI::CallForVersion(cli::version_text(), 0); },
        "Print the versions of the program, the compiler and the libraries");
    app_.footer(
        "Exit codes: 0 done, 1 wrong input, 2 numerical failure, 3 failure of files, of MPI or of a GPU, 4 "
        "an expectation is false or void, 75 stopped in good order and wants to be requeued.\n"
        "Several ranks: mpirun -n 4 rankine run deck.yaml");

    run_command_ = app_.add_subcommand("run", "Run a deck: all its variants and seeds");
    add_deck_options(*run_command_);
    run_command_->add_option("--output", run_.output, "Results file, instead of the deck's run.output");
    run_command_->add_option(
        "--restart", run_.restart,
        "auto: go on from the newest good checkpoint of the run's folder, if there is one; "
        "PATH: from this checkpoint, or the newest good one in this folder; never (default): "
        "start afresh and keep what is in the folder in its subfolder 'previous'");
    run_command_->add_option(
        "--weights", weights_,
        "Weights to start from (.npz, .safetensors, results, checkpoint): the deck's train.weights");
    run_command_->add_flag(
        "--dry-run", run_.dry_run,
        "Print the resolved deck, the partition and the estimates of memory and time; run nothing");
    run_command_
        ->add_flag(
            "--profile", run_.profile,
            "Print where the time of training steps goes: operations, kernels, copies between host and "
            "device, MPI; each operation is waited for")
        ->excludes("--dry-run");
    run_command_->footer("PETSc options go after '--': rankine run deck.yaml -- -log_view");

    check_command_ = app_.add_subcommand("check", "Check a deck without running it");
    add_deck_options(*check_command_);

    list_command_ = app_.add_subcommand("list", "List everything that a deck can name");
    list_command_->add_option("kind", name_, "Only this kind, for example experiment; catalogue: its decks");
    list_command_->add_option("--folder", folder_, "Of the decks; those with an about.id are the catalogue's")
        ->capture_default_str();

    catalogue_command_ = app_.add_subcommand(
        "catalogue", "The published systems, the decks that stand for them, and what these measured");
    catalogue_command_->require_subcommand(1);
    catalogue_list_ = catalogue_command_->add_subcommand("list", "All systems and decks, with their states");
    catalogue_status_ =
        catalogue_command_->add_subcommand("status", "The table of what was measured, as Markdown");
    catalogue_run_ = catalogue_command_->add_subcommand(
        "run",
        "Run decks one after the other, each from its newest checkpoint, and write what they measure beside "
        "them; a deck whose results of this revision are complete is not run again");
    catalogue_run_->add_option("what", catalogue_.what,
                               "Decks, families, or names and numbers of systems; all (default)");
    catalogue_run_->add_option("--work", catalogue_.work, "Folder for the results files")
        ->capture_default_str();
    catalogue_run_->add_flag("--again", catalogue_.again, "Run what is complete, too, from scratch");
    catalogue_run_->add_flag("--smoke", run_.request.smoke, "At smoke sizes; writes no result");
    catalogue_run_->add_option("--task", task_,
                               "I/N: only the I-th of N shares of the decks, for array jobs");
    for (CLI::App* command : {catalogue_list_, catalogue_status_, catalogue_run_})
      command->add_option("--folder", folder_, "Of the decks; those with an about.id are the catalogue's")
          ->capture_default_str();

    describe_command_ =
        app_.add_subcommand("describe", "Explain the options of something that a deck can name");
    describe_command_
        ->add_option("name", name_,
                     "A name or a kind from `rankine list`, or deck for the deck's own sections")
        ->required();
    describe_command_->add_flag("--markdown", markdown_, "As Markdown, for documentation");

    info_command_ = app_.add_subcommand(
        "info",
        "Show metrics, verdicts and provenance of a results file, or what is in a checkpoint, a folder of "
        "checkpoints, or the file about a numerical fault");
    info_command_->add_option("file", first_, "results.h5, or another file or folder of a run")->required();
    info_command_->add_option("--deck", run_.deck,
                              "Of a checkpoint: how its settings differ from this deck's; exit code 4 where "
                              "a restart refuses that");
    info_command_->add_flag("--json", json_, "As JSON");

    compare_command_ = app_.add_subcommand(
        "compare",
        "Compare two results files bit by bit, except for /provenance and /timing; exit code 4 if they "
        "differ. Or merge the files of a sweep into one table (--merge, or more than two files); exit code 4 "
        "if an expectation of the deck is false");
    compare_command_->add_option("files", files_, "results.h5 and another one, or all files of a sweep")
        ->required();
    compare_command_->add_flag(
        "--merge", merge_, "The files hold the runs of one sweep: one table, and the deck's expectations");
    compare_command_->add_option("--output", merged_, "With --merge: write one results file of all runs");

    doctor_command_ = app_.add_subcommand(
        "doctor",
        "Say what this installation can do, warn of what slows it down here, and test it; under mpirun, "
        "with its ranks");
    doctor_command_->add_flag("--json", json_, "As JSON");

    convert_command_ = app_.add_subcommand(
        "convert", "Convert weights between .h5 (results, checkpoints), .npz and .safetensors");
    convert_command_->add_option("from", first_, "File to read")->required();
    convert_command_->add_option("to", second_, "File to write; its ending tells the format")->required();
    convert_command_->add_option("--group", group_,
                                 "Group of an HDF5 file, for example runs/pi-hc/seed_1/weights");
    convert_command_->add_flag(
        "--compact", compact_,
        "Leave out the units that masks hold at zero, of results or a checkpoint of `training`; prints the "
        "smaller network's section `model`, to be used by decks that take these weights");
  }

  void add_deck_options(CLI::App& command) {
    command.add_option("deck", run_.deck, "Deck (YAML)")->required();
    command.add_option("--set", run_.request.set, "path.to.key=value: override a value; may be given again")
        ->take_all()
        ->allow_extra_args(false);
    command.add_option("--only", run_.request.only, "Run this variant only; may be given again")
        ->take_all()
        ->allow_extra_args(false);
    command.add_option(
        "--task", task_,
        "I/N: only the I-th of N shares of the variants and seeds, for array jobs (I from 1); the "
        "results file is named after it, and `rankine compare --merge` puts them together");
    command.add_flag("--smoke", run_.request.smoke, "Run at the deck's smoke sizes, which take seconds");
  }

  void parse(int argc, char** argv) {
    try {
      app_.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
      finished_ = parsed_command().help();
    } catch (const CLI::CallForAllHelp&) {
      finished_ = app_.help("", CLI::AppFormatMode::All);
    } catch (const CLI::CallForVersion& version) {
      finished_ = version.what();
    } catch (const CLI::ParseError& error) {
      throw InputError(explain(error, argc, argv));
    }
    read_task();
  }

  void read_task() {
    if (task_.empty()) return;
    int used = 0;
    DeckRequest& request = run_.request;
    const bool whole = std::sscanf(task_.c_str(), "%6d/%6d%n", &request.task, &request.tasks, &used) == 2 &&
                       static_cast<std::size_t>(used) == task_.size();
    if (!whole || request.task < 1 || request.task > request.tasks) {
      throw InputError("--task " + printable(task_) +
                       ": must be I/N with I from 1 to N, for example 3/8 for the third of eight shares");
    }
  }

  const CLI::App& parsed_command() const {
    const std::vector<CLI::App*> commands = app_.get_subcommands();
    return commands.empty() ? app_ : *commands.front();
  }

  std::string explain(const CLI::ParseError& error, int argc, char** argv) const {
    const CLI::App& command = parsed_command();
    const std::string help =
        &command == &app_ ? "rankine --help" : "rankine " + command.get_name() + " --help";
    if (&command == &app_ && argc > 1 && argv[1][0] != '-') {
      std::vector<std::string> names;
      for (const CLI::App* each : app_.get_subcommands([](const CLI::App*) { return true; })) {
        names.push_back(each->get_name());
      }
      const std::string hint = did_you_mean(argv[1], names);
      return "unknown command '" + printable(argv[1]) + "'" + (hint.empty() ? ";" : hint) +
             " (commands: " + join(names) + ")";
    }
    if (argc <= 1) return "a command is missing; `rankine --help` shows all";
    std::vector<std::string> flags;
    for (const CLI::Option* option : command.get_options()) {
      for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
    }
    for (const std::string& left : command.remaining()) {
      if (left.size() > 1 && left[0] == '-') {
        const std::string hint = did_you_mean(left.substr(0, left.find('=')), flags);
        const bool petsc = left[1] != '-' && (&command == run_command_ || &command == check_command_);
        return "unknown flag '" + printable(left) + "'" + (hint.empty() ? ";" : hint) +
               (petsc ? " PETSc options go after '--';" : "") + " `" + help + "` shows all";
      }
    }
    return std::string(error.what()) + "; see `" + help + "`";
  }

  int compare() const {
    if (merge_ || files_.size() > 2) {
      Log log(std::cout, Log::style_of_stdout(true), Log::colors_wanted());
      return merge_sweep(files_, merged_, run_.argv, log);
    }
    if (files_.size() != 2) throw InputError("compare needs two files, or --merge with those of a sweep");
    if (!merged_.empty()) throw InputError("compare: --output is for --merge, which puts files together");
    const std::string &first = files_[0], &second = files_[1];
    const std::vector<Difference> differences = compare_results(first, second);
    Console::print(compare_text(first, second, differences));
    return differences.empty() ? ExitCode::done : ExitCode::expectation_false;
  }

  const ProgramTables& tables_;
  CLI::App app_{"Rankine trains neural networks under hard physical constraints.", "rankine"};
  CLI::App *run_command_ = nullptr, *check_command_ = nullptr, *list_command_ = nullptr,
           *describe_command_ = nullptr, *info_command_ = nullptr, *compare_command_ = nullptr,
           *convert_command_ = nullptr, *doctor_command_ = nullptr, *catalogue_command_ = nullptr,
           *catalogue_list_ = nullptr, *catalogue_status_ = nullptr, *catalogue_run_ = nullptr;
  cli::RunArguments run_;
  cli::CatalogueRun catalogue_;
  std::string name_, first_, second_, group_, weights_, task_, finished_, folder_ = "inputs";
  std::vector<std::string> files_;
  std::string merged_;
  bool markdown_ = false, json_ = false, merge_ = false, compact_ = false;
};

}  // namespace

int exit_code_of(const std::exception& failure) {
  if (dynamic_cast<const InputError*>(&failure) != nullptr) return ExitCode::input_error;
  if (dynamic_cast<const NumericalError*>(&failure) != nullptr) return ExitCode::numerical_failure;
  if (dynamic_cast<const std::bad_alloc*>(&failure) != nullptr) return ExitCode::numerical_failure;
  if (dynamic_cast<const IoError*>(&failure) != nullptr) return ExitCode::io_failure;
  return MpiSession::exit_code_on_exception;
}

int run_program(int argc, char** argv, const ProgramTables& tables) {
  Console::open();
  std::optional<CommandLine> command;
  std::exception_ptr wrong;
  try {
    command.emplace(argc, argv, tables);
  } catch (...) {
    wrong = std::current_exception();  // the ranks of a launcher say it together
  }
  std::optional<MpiSession> session;
  if (MpiSession::launched() || (command && command->works())) session.emplace(argc, argv);
  const Communicator world = session ? Communicator::world() : Communicator::alone();
  const Rendezvous rendezvous(world, [](const std::exception& failure, int rank) {
    print_failure("rank " + std::to_string(rank) + ": " + message_of(failure));
    return exit_code_of(failure);
  });
  int exit_code = ExitCode::done;
  try {
    rendezvous.guard([&] {
      if (wrong) std::rethrow_exception(wrong);
      exit_code = command->execute(world, rendezvous);
    });
  } catch (const std::exception& failure) {  // on all ranks
    if (world.is_root()) print_failure(message_of(failure));
    exit_code = exit_code_of(failure);
  }
  exit_code = Console::exit_code(exit_code);
  if (hdf5::unusable()) MpiSession::abort(exit_code);
  return exit_code;
}

}  // namespace rankine
