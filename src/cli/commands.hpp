// What the commands do, apart from how their arguments are written.
#pragma once

#include <string>
#include <vector>

#include "src/cli/program.hpp"
#include "src/comm/rendezvous.hpp"
#include "src/deck/deck.hpp"

namespace rankine::cli {

struct RunArguments {
  std::string deck;
  DeckRequest request;
  std::string output;
  std::string restart = "never";  // "never", "auto", or a path
  bool dry_run = false;
  bool check_only = false;
  bool profile = false;
  std::vector<std::string> petsc_options;  // after "--"
  std::vector<std::string> argv;
};

/// `run` and `check`.
int run_deck(const Communicator& world, const Rendezvous& rendezvous, const ProgramTables& tables,
             const RunArguments& arguments);

/// `info CHECKPOINT --deck DECK`: how the settings in the checkpoint differ from those of the deck, and
/// whether a restart allows that. Exit code 4 where it does not.
int run_info_deck(const Communicator& world, const Rendezvous& rendezvous, const ProgramTables& tables,
                  const RunArguments& arguments, const std::string& checkpoint, bool json);

/// `convert FROM TO --compact`: writes the weights of a run, which FROM holds, without the units that are held at zero,
/// and prints the section `model` of a deck for them. By this rank alone. InputError where FROM holds no deck, or its
/// masks change later.
void compact_weights(const ProgramTables& tables, const std::string& from, const std::string& to,
                     const std::string& group);

/// `doctor`. Returns the exit code.
int run_doctor(const Communicator& world, const Rendezvous& rendezvous, const std::string& program,
               bool json);

/// All names, or those of one kind.
std::string list_text(const ProgramTables& tables, const std::string& kind);
/// The options of everything called `name`; "deck" for the deck's own sections.
std::string describe_text(const ProgramTables& tables, const std::string& name, OptionDescriber::Style style);

/// Versions of the program, the compiler and the libraries.
std::string version_text();

}  // namespace rankine::cli
