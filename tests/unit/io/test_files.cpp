// Which files outputs may replace, and which they must not: other kinds, other people's, inputs, devices.
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "src/io/checkpoint.hpp"
#include "src/io/fault_file.hpp"
#include "src/io/files.hpp"
#include "src/io/hdf5.hpp"
#include "src/io/pdebench.hpp"
#include "src/io/results.hpp"
#include "src/io/safe_file.hpp"
#include "src/io/weights.hpp"
#include "tests/unit/io/scratch.hpp"

namespace rankine {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::put_file;
using testing::Scratch;
namespace fs = std::filesystem;

constexpr FileContent all_contents[] = {
    FileContent::results, FileContent::side_file,    FileContent::fault,     FileContent::weights,
    FileContent::samples, FileContent::observations, FileContent::checkpoint};

/// What check_outputs() says, "" if nothing.
std::string refusal(const std::vector<OutputFile>& outputs, const std::vector<InputFile>& inputs = {}) {
  try {
    check_outputs(outputs, inputs);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

std::string refusal(const std::string& path, FileContent content, const std::vector<InputFile>& inputs = {}) {
  return refusal({{"run.output", path, content}}, inputs);
}

/// One file of each kind that Rankine writes.
std::vector<std::pair<std::string, FileContent>> write_all(const Scratch& scratch) {
  ResultsWriter results(scratch / "results.h5", "t");
  results.finish();
  put_file(
      scratch / "side.xdmf",
      std::string(xdmf_start) + "<DataItem>results.h5:/runs/v/seed_0/fields/x</DataItem></Domain></Xdmf>");
  write_fault_file(scratch / "fault.h5", {});
  const WeightArrays arrays{{"w", hdf5::Type::f32, {1}, std::string(4, '\0')}};
  for (const char* name : {"w.h5", "w.npz", "w.safetensors"}) write_weights(scratch / name, arrays);
  const std::vector<double> grid{0, 1};
  PdebenchWriter samples(scratch / "samples.h5", grid, grid);
  samples.append(std::vector<double>(4), "");
  samples.finish();
  write_checkpoint(scratch / "checkpoint.h5", {});
  return {{"results.h5", FileContent::results}, {"side.xdmf", FileContent::side_file},
          {"fault.h5", FileContent::fault},     {"w.h5", FileContent::weights},
          {"w.npz", FileContent::weights},      {"w.safetensors", FileContent::weights},
          {"samples.h5", FileContent::samples}, {"checkpoint.h5", FileContent::checkpoint}};
}

TEST(Files, AnOutputReplacesItsOwnKindOnly) {
  const Scratch scratch;
  for (const auto& [name, content] : write_all(scratch)) {
    EXPECT_EQ(written_content(scratch / name), content) << name;
    for (const FileContent other : all_contents)
      EXPECT_EQ(refusal(scratch / name, other).empty(), other == content)
          << name << " " << static_cast<int>(other);
  }
}

TEST(Files, OtherFilesAreNotReplaced) {
  const Scratch scratch;
  {
    hdf5::File file = hdf5::File::create(scratch / "foreign.h5");
    file.root().attribute("format", "somebody's");
    file.close();
  }
  hdf5::File::create(scratch / "bare.h5").close();
  put_file(scratch / "cut.h5", read_file(scratch / "bare.h5").substr(0, 100));
  put_file(scratch / "deck.yaml", "run: {}\n");
  put_file(scratch / "numpy.npz", std::string("PK\x05\x06", 4) + std::string(18, '\0'));
  put_file(scratch / "other.safetensors", std::string("\x02\0\0\0\0\0\0\0{}", 10));
  put_file(scratch / "other.xdmf", "<?xml version=\"1.0\"?>\n<Xdmf/>\n");
  put_file(scratch / "talks.h5", "it mentions rankine-checkpoint and rankine-results");
  for (const auto& entry : fs::directory_iterator(scratch.path())) {
    const std::string path = entry.path().string(), bytes = read_file(path);
    for (const FileContent content : all_contents) {
      EXPECT_THAT(refusal(path, content), HasSubstr("that Rankine wrote; choose another name, or remove it"));
      EXPECT_THROW(SafeFile(path, content), InputError);
    }
    EXPECT_EQ(read_file(path), bytes);
  }
  put_file(scratch / "empty.h5", "");
  EXPECT_EQ(refusal(scratch / "empty.h5", FileContent::results), "") << "an empty file has nothing to lose";
}

TEST(Files, OutputsAreNoInputs) {
  const Scratch scratch;
  ResultsWriter results(scratch / "a.h5", "t");
  results.finish();
  fs::create_symlink("a.h5", scratch / "link.h5");
  fs::create_hard_link(scratch / "a.h5", scratch / "hard.h5");
  fs::create_directory(scratch / "folder");
  fs::create_directory_symlink(".", scratch / "here");
  fs::create_hard_link(scratch / "a.h5", scratch / "folder/in.h5");
  for (const char* name :
       {"a.h5", "link.h5", "hard.h5", "here/a.h5", "folder/../a.h5", "here/here/link.h5"}) {
    EXPECT_THAT(refusal(scratch / name, FileContent::results, {{"data.path", scratch / "a.h5"}}),
                AllOf(HasSubstr("run.output"), HasSubstr("it is the file that data.path reads")))
        << name;
    EXPECT_EQ(refusal(scratch / name, FileContent::results, {{"data.path", scratch / "folder"}}), "")
        << "results in a folder of data are no data";
    EXPECT_THAT(refusal(scratch / name, FileContent::weights, {{"data.path", scratch / "folder"}}),
                HasSubstr("folder/in.h5"));
  }
  EXPECT_EQ(refusal(scratch / "b.h5", FileContent::results, {{"data.path", scratch / "a.h5"}}), "");
  EXPECT_EQ(refusal(scratch / "b.h5", FileContent::results, {{"data.path", scratch / "missing.h5"}}), "");
}

TEST(Files, OutputsAreNoTwoOfOneFile) {
  const Scratch scratch;
  fs::create_directory_symlink(".", scratch / "here");
  fs::create_symlink("not/there.h5", scratch / "dangling.h5");
  const auto both = [&](const char* a, const char* b) {
    return refusal({{"run.output", scratch / a, FileContent::results},
                    {"data.write", scratch / b, FileContent::samples}});
  };
  EXPECT_THAT(both("a.h5", "a.h5"), AllOf(HasSubstr("run.output"), HasSubstr("data.write")));
  EXPECT_THAT(both("new/a.h5", "here/new/../new/a.h5"), HasSubstr("names the same file"));
  EXPECT_THAT(both("dangling.h5", "not/there.h5"), HasSubstr("names the same file"));
  EXPECT_EQ(both("a.h5", "b.h5"), "");
}

TEST(Files, LinksAreFollowedAndStay) {
  const Scratch scratch;
  fs::create_directory(scratch / "there");
  fs::create_symlink("there/real.h5", scratch / "link.h5");  // leads to nothing yet
  for (int round = 0; round < 2; ++round) {
    ResultsWriter results(scratch / "link.h5", "t");
    results.finish();
    EXPECT_TRUE(fs::is_symlink(scratch / "link.h5"));
    EXPECT_EQ(written_content(scratch / "there/real.h5"), FileContent::results);
  }
  fs::create_symlink("b", scratch / "a");
  fs::create_symlink("a", scratch / "b");
  EXPECT_THAT(refusal(scratch / "a", FileContent::results), HasSubstr("in a circle"));
}

TEST(Files, WhatIsNoPlainFileIsRefused) {
  const Scratch scratch;
  ASSERT_EQ(::mkfifo((scratch / "pipe").c_str(), 0600), 0);
  fs::create_directory(scratch / "folder");
  fs::create_symlink("/dev/null", scratch / "null");
  put_file(scratch / "file", "x");
  EXPECT_THAT(refusal(scratch / "pipe", FileContent::results), HasSubstr("it is a pipe"));
  EXPECT_THAT(refusal("/dev/null", FileContent::results), HasSubstr("it is a device"));
  EXPECT_THAT(refusal(scratch / "null", FileContent::results), HasSubstr("it is a device"));
  EXPECT_THAT(refusal(scratch / "folder", FileContent::results), HasSubstr("a folder of this name exists"));
  EXPECT_THAT(refusal(scratch / "folder/", FileContent::results), HasSubstr("folder"));
  EXPECT_THAT(refusal(scratch / "file/a.h5", FileContent::results), HasSubstr("no folder"));
  for (const char* name : {"pipe", "folder", "null", "file/a.h5"})
    EXPECT_THROW(SafeFile(scratch / name, FileContent::results), InputError) << name;
  EXPECT_TRUE(fs::is_fifo(scratch / "pipe"));
}

TEST(Files, FoldersAreMadeWhenWorkStarts) {
  const Scratch scratch;
  EXPECT_EQ(refusal(scratch / "a/b/c.h5", FileContent::results), "");
  EXPECT_TRUE(fs::is_empty(scratch.path()));
  const OutputFile output{"run.output", scratch / "a/b/c.h5", FileContent::results};
  const OutputClaim claim({&output, 1}, {});
  EXPECT_TRUE(fs::is_directory(scratch / "a/b"));
}

TEST(Files, TheForeignFileThatCameMeanwhileStays) {
  const Scratch scratch;
  ResultsWriter results(scratch / "a.h5", "t");
  put_file(scratch / "a.h5", "data");
  try {
    results.finish();
    ADD_FAILURE() << "it was replaced";
  } catch (const IoError& error) {
    EXPECT_THAT(error.what(), HasSubstr("a.h5.kept"));
  }
  EXPECT_EQ(read_file(scratch / "a.h5"), "data");
  EXPECT_EQ(written_content(scratch / "a.h5.kept"), FileContent::results);
}

/// The number of a process that has ended.
pid_t dead_process() {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(0);
  ::waitpid(pid, nullptr, 0);
  return pid;
}

TEST(Files, ClearsWhatKilledProcessesLeftOfThisOutputAndNoOther) {
  const Scratch scratch;
  const std::string dead = std::to_string(dead_process()), alive = std::to_string(::getppid()),
                    host = host_label(), hdf5 = "\x89HDF\r\n\x1a\n and more";
  const std::string ours = ".tmp." + host + "." + dead;
  const std::map<std::string, std::string> stale{{"out.h5" + ours, hdf5},
                                                 {"out.xdmf" + ours, std::string(xdmf_start.substr(0, 30))},
                                                 {"out.npz" + ours, "PK\x03\x04 and more"},
                                                 {"empty.h5" + ours, ""},
                                                 {"reserved.h5" + ours, std::string(5000, '\0')},
                                                 {"a.tmp.b.h5" + ours, hdf5},
                                                 {"out.h5.fault-v-seed_0-step_3.h5" + ours, hdf5}};
  std::map<std::string, std::string> others{{"out.xdmf" + ours + "0x", "x"}};
  const std::vector<std::string> names{"out.h5.tmp." + host + "." + alive,
                                       "out.h5.tmp." + dead,
                                       "out.h5.tmp.20241130",
                                       "out.h5.tmp.v1.2",
                                       "out.h5.tmp.old.3",
                                       "out.h5.tmp.other-host." + dead,
                                       "out.h5.tmp." + host + ".0" + dead,
                                       "out.h5.tmp." + host + "." + dead + ".h5",
                                       "out.h5.tmp." + host + ".x." + dead,
                                       "out.h5.tmp",
                                       "out.h5.tmp.",
                                       "out.h5.tmp.." + dead,
                                       "my_out.h5" + ours,
                                       "out.h5.bak" + ours,
                                       "out.h5.fault-notes" + ours};
  for (const std::string& name : names) others[name] = hdf5;
  others["text.h5" + ours] = "somebody's notes";
  others["zeros.h5" + ours] = std::string(20, '\0') + "data";
  for (const auto& list : {stale, others})
    for (const auto& [name, bytes] : list) put_file(scratch / name, bytes);
  for (const char* name :
       {"out.h5", "out.xdmf", "out.npz", "empty.h5", "reserved.h5", "a.tmp.b.h5", "text.h5", "zeros.h5"}) {
    const OutputFile output{"run.output", scratch / name, FileContent::results};
    const OutputClaim claim({&output, 1}, {});
  }
  for (const auto& [name, bytes] : stale) EXPECT_FALSE(fs::exists(scratch / name)) << name;
  for (const auto& [name, bytes] : others) {
    ASSERT_TRUE(fs::exists(scratch / name)) << name;
    EXPECT_EQ(read_file(scratch / name), bytes) << name;
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(scratch.path()), {}), static_cast<long>(others.size()));
}

}  // namespace
}  // namespace rankine
