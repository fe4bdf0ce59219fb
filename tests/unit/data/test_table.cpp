#include <filesystem>
#include <numeric>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/data/csv.hpp"
#include "src/data/splits.hpp"
#include "tests/support/data_files.hpp"
#include "tests/support/host_elements.hpp"

namespace rankine {
namespace {

using test::all_of;
using test::Folder;
using test::gzip;
using test::make_dataset;
using test::refusal;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

TEST(Csv, SplitsFields) {
  const auto fields = [](const std::string& text) { return parse_csv(text, "t.csv").rows.at(0).fields; };
  EXPECT_THAT(fields("1, 2 ,,4\n"), ElementsAre("1", "2", "", "4"));
  EXPECT_THAT(fields("1,2,\n"), ElementsAre("1", "2", ""));
  EXPECT_THAT(fields("1;2,5;3"), ElementsAre("1", "2,5", "3"));
  EXPECT_THAT(fields("1\t\t3\r\n"), ElementsAre("1", "", "3"));
  EXPECT_THAT(fields("  1   2 3  \n"), ElementsAre("1", "2", "3"));
  EXPECT_THAT(fields("\xef\xbb\xbf\"a,b\",\"say \"\"c\"\"\" ,d\n"), ElementsAre("a,b", "say \"c\"", "d"));
  const Csv csv = parse_csv("a b\n\n  \n1 2\n", "t.csv");
  EXPECT_EQ(csv.rows.at(1).line, 4);
}

TEST(Csv, FindsTheSeparatorThatTheRowsAgreeOn) {
  const auto separator = [](const std::string& text) { return parse_csv(text, "t.csv").separator; };
  EXPECT_EQ(separator("a,b;c,d\n1,2;3,4\n1,2;3,4\n"), ';')
      << "three fields or two: both fit, the first is taken";
  EXPECT_EQ(separator("a,b;c,d\n1,2,3\n4,5,6\n"), ',');
  EXPECT_EQ(separator("\"a;b\",c\n1,2\n"), ',');
  EXPECT_EQ(separator("a b,c\n1,2\n"), ',');
  EXPECT_EQ(separator("a b c\n1 2 3\n"), ' ');
}

TEST(Csv, PassesOverComments) {
  const Csv csv = parse_csv("# a;b;c\n \t# more\n1,2\r#3,4\r\n\"#5\",6", "t.csv");
  ASSERT_EQ(csv.rows.size(), 2u);
  EXPECT_EQ(csv.rows[0].line, 3);
  EXPECT_THAT(csv.rows[1].fields, ElementsAre("#5", "6"));
  EXPECT_EQ(csv.rows[1].line, 5);
}

TEST(Csv, TellsAHeaderFromNumbers) {
  EXPECT_TRUE(parse_csv("RI,Na,Mg\n1,2,3\n", "t.csv").has_header()) << "Na is sodium here";
  EXPECT_TRUE(parse_csv(",a,b\n0,1,2\n", "t.csv").has_header());
  EXPECT_FALSE(parse_csv("+1,+2,yes\n", "t.csv").has_header());
  EXPECT_FALSE(parse_csv("nan,?,yes\n", "t.csv").has_header());
  EXPECT_FALSE(parse_csv("1e999,x,yes\n", "t.csv").has_header());
}

TEST(Csv, DropsAnEmptyLastFieldThatAllRowsHave) {
  const auto widths = [](const std::string& text) {
    Csv csv = parse_csv(text, "t.csv");
    csv.make_rectangular();
    std::vector<std::size_t> out;
    for (const CsvRow& row : csv.rows) out.push_back(row.fields.size());
    return out;
  };
  EXPECT_THAT(widths("a,b,\n1,2,\n3,4,\n"), ElementsAre(2, 2, 2));
  EXPECT_THAT(widths("a,b\n1,2,\n3,4,\n"), ElementsAre(2, 2, 2));
  EXPECT_THAT(widths("a,b,\n1,2\n3,4\n"), ElementsAre(2, 2, 2));
  EXPECT_THAT(widths("1,2,\n3,4,\n"), ElementsAre(2, 2));
  EXPECT_THAT(widths("a,b,c\n1,2,\n3,4,\n"), ElementsAre(3, 3, 3)) << "the column c has no values";
  EXPECT_THAT([&] { widths("a,b,c\n1,2,3\n3,4,5,\n"); },
              ThrowsMessage<InputError>(HasSubstr("t.csv:3: has 4 fields, but the rows before have 3")));
}

TEST(Csv, SaysWhatIsWrong) {
  EXPECT_THAT([] { parse_csv("\n \n", "t.csv"); },
              ThrowsMessage<InputError>(HasSubstr("t.csv: contains no rows")));
  EXPECT_THAT([] { parse_csv("1,\"2\n3\",4", "t.csv"); },
              ThrowsMessage<InputError>(HasSubstr("t.csv:1: a field's opening quote")));
  EXPECT_THAT([] { parse_csv("\"1\"2,3", "t.csv"); },
              ThrowsMessage<InputError>(HasSubstr("text follows a field's closing quote")));
  EXPECT_THAT([] { parse_csv(std::string("1,\0,3", 5), "t.csv"); },
              ThrowsMessage<InputError>(HasSubstr("zero byte")));
  const Csv csv = parse_csv("1,x,nan,1e999,+2.5,-inf\n", "t.csv");
  const auto number = [&](std::size_t c) { return [&csv, c] { csv.number(csv.rows[0], c); }; };
  EXPECT_EQ(csv.number(csv.rows[0], 4), 2.5);
  EXPECT_THAT(number(1),
              ThrowsMessage<InputError>(HasSubstr("t.csv:1: column 2 is 'x', which is not a number")));
  EXPECT_THAT(number(2),
              ThrowsMessage<InputError>(HasSubstr("t.csv:1: column 3 is nan; every value must be finite")));
  EXPECT_THAT(number(3), ThrowsMessage<InputError>(HasSubstr("outside the range of double precision")));
  EXPECT_THAT(number(5), ThrowsMessage<InputError>(HasSubstr("column 6 is -inf")));
}

/// Whatever bytes come, the parser ends and either refuses them or gives rows.
TEST(Csv, SurvivesRubbish) {
  const std::string alphabet("\"\",;\t \n\r1a\0.\xff", 13);
  std::uint32_t state = 7;
  for (int round = 0; round < 20000; ++round) {
    std::string text;
    for (std::uint32_t n = 0, length = round % 24; n < length; ++n)
      text += alphabet[((state = state * 1664525 + 1013904223) >> 8 & 0xffffff) % alphabet.size()];
    try {
      EXPECT_FALSE(parse_csv(text, "t").rows.empty());
    } catch (const InputError&) {
    }
  }
}

class TableTest : public testing::Test {
 protected:
  /// 40 rows: a = i, b = 5, colour = red, green or blue, y = 2 i + 1.
  TableTest() {
    std::string text = "a;b;colour;y\n";
    const char* colours[] = {"red", "green", "blue"};
    for (int i = 0; i < 40; ++i)
      text += std::to_string(i) + ";5;" + std::to_string(i % 3) + ";" + std::to_string(2 * i + 1) + "\n";
    path_ = folder_.write("numbers.csv", text);
    text = "a,colour\n";
    for (int i = 0; i < 40; ++i) text += std::to_string(i) + "," + colours[i % 3] + "\n";
    texts_ = folder_.write("texts.csv", text);
  }
  std::string deck(const std::string& more = "") const {
    return "name: table, path: '" + path_ + "'" + (more.empty() ? "" : ", " + more);
  }
  Folder folder_;
  std::string path_, texts_;
};

TEST_F(TableTest, DealsEveryRowOnce) {
  const auto data = make_dataset(deck("target: y, task: regression, validation: 7"));
  EXPECT_EQ(data->size(Split::test), 8);
  EXPECT_EQ(data->size(Split::validation), 7);
  EXPECT_EQ(data->size(Split::training), 25);
  std::set<std::int64_t> seen;
  for (Split split : all_splits)
    for (std::int64_t id : data->examples(split, all_of(*data, split), DType::f64).ids) seen.insert(id);
  EXPECT_EQ(seen.size(), 40u);
  EXPECT_EQ(*seen.rbegin(), 39);
}

TEST_F(TableTest, ScalesByTheTrainingRows) {
  const auto data = make_dataset(deck("target: y, task: regression, train: 20"));
  EXPECT_EQ(data->input_shape(), Shape{3});
  EXPECT_EQ(data->target_shape(), Shape{1});
  EXPECT_EQ(data->classes(), 0);
  const Examples training = data->examples(Split::training, all_of(*data, Split::training), DType::f64);
  double mean = 0, square = 0;
  for (std::int64_t id : training.ids) mean += static_cast<double>(id) / 20;
  for (std::int64_t id : training.ids) square += std::pow(static_cast<double>(id) - mean, 2) / 20;
  const Examples test = data->examples(Split::test, all_of(*data, Split::test), DType::f64);
  for (std::size_t i = 0; i < test.ids.size(); ++i) {
    const double expected = (static_cast<double>(test.ids[i]) - mean) / std::sqrt(square);
    EXPECT_NEAR(host_read<double>(test.inputs)[3 * i], expected, 1e-12);
    EXPECT_EQ(host_read<double>(test.inputs)[3 * i + 1], 0);  // a constant column
    EXPECT_NEAR(host_read<double>(test.targets)[i], expected, 1e-12);
  }
}

TEST_F(TableTest, ScalesToARangeOrNotAtAll) {
  const auto data = make_dataset(deck("target: 4, task: regression, scaling: range, scale_target: false"));
  const Examples training = data->examples(Split::training, all_of(*data, Split::training), DType::f64);
  double least = 1, most = 0;
  for (std::size_t i = 0; i < training.ids.size(); ++i) {
    least = std::min(least, host_read<double>(training.inputs)[3 * i]);
    most = std::max(most, host_read<double>(training.inputs)[3 * i]);
    EXPECT_EQ(host_read<double>(training.targets)[i], static_cast<double>(2 * training.ids[i] + 1));
  }
  EXPECT_EQ(least, 0);
  EXPECT_EQ(most, 1);
  const auto raw = make_dataset(deck("target: y, task: regression, scaling: none"));
  const Examples one = raw->examples(Split::test, std::vector<std::int64_t>{0}, DType::f64);
  EXPECT_EQ(host_read<double>(one.inputs)[0], static_cast<double>(one.ids[0]));
}

TEST_F(TableTest, ReadsClasses) {
  const auto numbers = make_dataset(deck("target: colour, classes: 3"));
  EXPECT_EQ(numbers->classes(), 3);
  EXPECT_EQ(numbers->target_shape(), Shape{});
  const auto texts = make_dataset("name: table, path: '" + texts_ + "'");
  EXPECT_EQ(texts->classes(), 3);
  const std::int32_t order[] = {2, 1, 0};  // red, green, blue in alphabetical order
  for (Split split : all_splits) {
    const Examples examples = texts->examples(split, all_of(*texts, split), DType::f32);
    for (std::size_t i = 0; i < examples.ids.size(); ++i)
      EXPECT_EQ(host_read<std::int32_t>(examples.targets)[i], order[examples.ids[i] % 3]);
  }
}

TEST_F(TableTest, FoldsCoverTheTable) {
  std::set<std::int64_t> seen;
  for (int fold = 0; fold < 5; ++fold) {
    const auto data = make_dataset(deck("target: colour, fold: " + std::to_string(fold)));
    for (std::int64_t id : data->examples(Split::test, all_of(*data, Split::test), DType::f32).ids)
      EXPECT_TRUE(seen.insert(id).second);
  }
  EXPECT_EQ(seen.size(), 40u);
  EXPECT_THAT(refusal(deck("target: colour, fold: 5")), HasSubstr("folds are 0 to 4"));
}

TEST_F(TableTest, TakesRowsByNumber) {
  const auto data = make_dataset(
      deck("target: colour, rows: {train: [0, 10, 20, 30], validation: [10, 15], test: [30, 40]}"));
  EXPECT_EQ(data->size(Split::training), 20);
  EXPECT_EQ(data->examples(Split::training, std::vector<std::int64_t>{0, 10}, DType::f32).ids,
            (std::vector<std::int64_t>{0, 20}));
  EXPECT_THAT(refusal(deck("target: colour, rows: {train: [0, 30], test: [27, 40]}")),
              AllOf(HasSubstr("deck.yaml:1:"), HasSubstr("training and test share examples: 27, 28, 29;")));
  EXPECT_THAT(refusal(deck("target: colour, rows: {train: [0, 30], test: [10, 40]}")),
              HasSubstr("16, 17 and 12 more;"));
  EXPECT_THAT(refusal(deck("target: colour, rows: {train: [0, 10, 9, 20], test: [30, 40]}")),
              HasSubstr("training holds examples twice: 9;"));
  EXPECT_THAT(refusal(deck("target: colour, rows: {train: [0, 10, 20]}")),
              HasSubstr("train has 3 numbers; ranges are pairs"));
  EXPECT_THAT(refusal(deck("target: colour, rows: {train: [0, 41]}")),
              HasSubstr("there are the rows 0 to 39"));
  EXPECT_THAT(refusal(deck("target: colour, rows: {test: [0, 4]}")), HasSubstr("no training rows"));
  EXPECT_THAT(refusal(deck("target: colour, test: 5, rows: {train: [0, 4]}")),
              HasSubstr("test and rows both divide the rows"));
}

TEST_F(TableTest, SaysWhatIsWrong) {
  const auto told = [&](const std::string& text, const std::string& more = "") {
    folder_.write("bad.csv", text);
    return refusal("name: table, path: '" + folder_.path() + "/bad.csv'" + more);
  };
  EXPECT_THAT(told("a,b,c\n1,2,0\n1,NaN,1\n1,2,0\n1,2,1\n"),
              HasSubstr("bad.csv:3: column 2 is NaN; every value must be finite"));
  EXPECT_THAT(told("1,2,0\n1,2\n1,2,0\n1,2,0\n1,2,1\n1,2,1\n"),
              HasSubstr("bad.csv:2: has 2 fields, but the rows before have 3"));
  EXPECT_THAT(told("1,2,0\n1,2,3\n1,2,1\n", ", classes: 3"),
              HasSubstr("bad.csv:2: column 3 is 3; classes are the whole numbers 0 to 2"));
  EXPECT_THAT(told("1,2,0\n1,2,-1\n", ", classes: 3"), HasSubstr("column 3 is -1"));
  EXPECT_THAT(told("1,a\n1,nan\n1,a\n1,a\n1,b\n1,b\n"),
              HasSubstr("bad.csv:2: column 2 is 'nan', which is not a class"));
  EXPECT_THAT(told("1,0.5\n1,0.7\n2,0.9\n"),
              AllOf(HasSubstr("has 3 different values in 3 rows"), HasSubstr("task: regression")));
  EXPECT_THAT(told("a,b\n"), HasSubstr("contains a header and no rows"));
  EXPECT_THAT(told(""), HasSubstr("contains no rows"));
  EXPECT_THAT(told(gzip("1,0\n2,0\n3,1\n4,1\n").substr(0, 20)), HasSubstr("the file ends too early"));
  EXPECT_THAT(
      refusal(deck("target: colours")),
      AllOf(HasSubstr("has no column 'colours'; did you mean 'colour'?"), HasSubstr("a, b, colour, y")));
  EXPECT_THAT(refusal(deck("target: 5")), HasSubstr("has no column '5'"));
  EXPECT_THAT(refusal(deck("target: colour, train: 30, test: 11")), HasSubstr("but the table has 40"));
  EXPECT_THAT(refusal(deck("target: colour, shape: [1, 2, 2]")), HasSubstr("a row has 3 features"));
  EXPECT_THAT(refusal("name: table, path: '" + folder_.path() + "/none.csv'"),
              HasSubstr("none.csv is missing"));
  EXPECT_THAT(refusal("name: table"), HasSubstr("table: file needs path"));
  EXPECT_THAT(refusal("name: table, table: wine, task: regression"), HasSubstr("of wine it is known"));
}

TEST_F(TableTest, ChecksScikitLearnsFiles) {
  const auto told = [&](const std::string& text) {
    folder_.write("wine_data.csv", text);
    return refusal("name: table, table: wine, path: '" + folder_.path() + "'");
  };
  EXPECT_THAT(told("3,2,a,b,c\n1,2,0\n3,4,1\n"), HasSubstr("the first line says 3 rows, but 2 follow"));
  EXPECT_THAT(told("2,3,a,b,c\n1,2,0\n3,4,1\n"),
              HasSubstr("the first line says 3 features, but the rows have 3 fields"));
  EXPECT_THAT(told("2,2,a,b,c\n1,2,0\n3,4,3\n"),
              HasSubstr("wine_data.csv:3: column 3 is 3; classes are the whole numbers 0 to 2"));
  EXPECT_THAT(
      refusal("name: table, table: iris, path: '" + folder_.path() + "'"),
      HasSubstr("iris.csv is missing; install the Debian package python3-sklearn, or give data.path"));
  folder_.write("diabetes_data_raw.csv.gz", gzip("1 2\n3 4\n"));
  folder_.write("diabetes_target.csv.gz", gzip("1.0\n"));
  EXPECT_THAT(refusal("name: table, table: diabetes, path: '" + folder_.path() + "'"),
              HasSubstr("has 1 rows, but"));
}

TEST(Table, ReadsTheInstalledFiles) {
  struct Known {
    const char* name;
    std::int64_t rows, features, classes;
  };
  for (const Known& k :
       {Known{"breast_cancer", 569, 30, 2}, Known{"wine", 178, 13, 3}, Known{"iris", 150, 4, 3},
        Known{"digits", 1797, 64, 10}, Known{"diabetes", 442, 10, 0}}) {
    const auto data = make_dataset("name: table, validation: 20, table: " + std::string(k.name));
    EXPECT_EQ(data->size(Split::training) + data->size(Split::validation) + data->size(Split::test), k.rows)
        << k.name;
    EXPECT_EQ(data->input_shape(), Shape{k.features}) << k.name;
    EXPECT_EQ(data->classes(), k.classes) << k.name;
    const Examples training = data->examples(Split::training, all_of(*data, Split::training), DType::f64);
    for (std::int64_t c = 0; c < k.features; ++c) {
      double sum = 0, squares = 0;
      for (std::int64_t i = 0; i < training.inputs.extent(0); ++i) {
        const double v = host_read<double>(training.inputs)[i * k.features + c];
        sum += v, squares += v * v;
      }
      const auto n = static_cast<double>(training.inputs.extent(0));
      EXPECT_NEAR(sum / n, 0, 1e-10) << k.name << " " << c;
      if (squares > 0) {
        EXPECT_NEAR(squares / n, 1, 1e-10) << k.name << " " << c;
      }
    }
  }
  const auto digits = make_dataset(
      "name: table, table: digits, shape: [1, 8, 8], scaling: none, rows: {train: [0, 3], test: [3, 1797]}");
  EXPECT_EQ(digits->input_shape(), (Shape{1, 8, 8}));
  const Examples first = digits->examples(Split::training, std::vector<std::int64_t>{0, 1, 2}, DType::f32);
  EXPECT_EQ(host_read<float>(first.inputs)[3], 13);  // the first digits are a 0, a 1 and a 2
  EXPECT_THAT(host_values<std::int32_t>(first.targets), ElementsAre(0, 1, 2));
}

}  // namespace
}  // namespace rankine
