#include "src/expressions/expressions.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <numbers>
#include <string_view>

#include "src/core/strings.hpp"
#include "src/core/text_cursor.hpp"

namespace rankine {
namespace {

using kernels::ExpressionGraph;
using kernels::Op;

struct Builtin {
  const char* name;
  Op op;
  const char* arguments;  // for messages
};

constexpr Builtin builtins[] = {
    {"sin", Op::sine, "sin(a)"},
    {"cos", Op::cosine, "cos(a)"},
    {"tan", Op::tangent, "tan(a)"},
    {"exp", Op::exponential, "exp(a)"},
    {"log", Op::logarithm, "log(a)"},
    {"sqrt", Op::square_root, "sqrt(a)"},
    {"abs", Op::absolute, "abs(a)"},
    {"tanh", Op::hyperbolic_tangent, "tanh(a)"},
    {"sinh", Op::hyperbolic_sine, "sinh(a)"},
    {"cosh", Op::hyperbolic_cosine, "cosh(a)"},
    {"erf", Op::error_function, "erf(a)"},
    {"sign", Op::sign, "sign(a)"},
    {"min", Op::minimum, "min(a, b, ...)"},
    {"max", Op::maximum, "max(a, b, ...)"},
    {"if", Op::select, "if(condition, a, b)"},
    {"d", Op::argument, "d(u, x)"},
};

const Builtin* builtin(std::string_view name) {
  for (const Builtin& entry : builtins) {
    if (name == entry.name) return &entry;
  }
  return nullptr;
}

constexpr const char* divergence =
    "the equation takes the divergence of the flux itself: what paper writes as div(D*grad(u)), or as "
    "D*laplacian(u), on the right is flux: -D*grad(u)";

/// Functions that other languages have, and what stands for them here.
constexpr std::pair<std::string_view, const char*> foreign_functions[] = {
    {"ln", "the natural logarithm is 'log'"},
    {"log10", "write log(a)/log(10)"},
    {"log2", "write log(a)/log(2)"},
    {"pow", "a power is 'a^b'"},
    {"power", "a power is 'a^b'"},
    {"sqr", "a square is 'a^2'"},
    {"diff", "a derivative is 'd(u,x)'"},
    {"laplacian", divergence},
    {"laplace", divergence},
    {"div", divergence},
    {"divergence", divergence},
    {"dx", "a derivative is 'd(u,x)'"},
    {"ddx", "a derivative is 'd(u,x)'"},
    {"D", "a derivative is 'd(u,x)'"},
    {"minimum", "did you mean 'min'?"},
    {"maximum", "did you mean 'max'?"},
    {"fabs", "did you mean 'abs'?"},
};

/// Characters beyond ASCII that word processors put in place of operators.
constexpr std::pair<std::string_view, const char*> foreign_characters[] = {
    {"\xe2\x88\x92", "use '-'"},  // minus sign
    {"\xe2\x80\x93", "use '-'"},  // dashes
    {"\xe2\x80\x94", "use '-'"},
    {"\xc2\xb7", "use '*'"},  // dots and crosses
    {"\xe2\x8b\x85", "use '*'"},
    {"\xc3\x97", "use '*'"},
    {"\xc3\xb7", "use '/'"},           // division sign
    {"\xc2\xb2", "a square is '^2'"},  // superscripts
    {"\xc2\xb3", "a cube is '^3'"},
    {"\xe2\x89\xa4", "use '<='"},
    {"\xe2\x89\xa5", "use '>='"},
    {"\xe2\x89\xa0", "use '!='"},
    {"\xc2\xa0", "a no-break space; use a plain one"},
};

/// The whole character that the text begins with, which UTF-8 may write as several bytes; a byte that
/// begins none is escaped.
std::string first_character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  if (text.empty() || byte(0) < 0x80U) return printable(text.substr(0, 1));
  const std::size_t size = byte(0) >= 0xF0U ? 4 : byte(0) >= 0xE0U ? 3 : byte(0) >= 0xC2U ? 2 : 0;
  bool whole = size > 0 && byte(0) <= 0xF4U && text.size() >= size;
  for (std::size_t i = 1; whole && i < size; ++i) whole = (byte(i) & 0xC0U) == 0x80U;
  if (whole) return std::string(text.substr(0, size));
  constexpr std::string_view digits = "0123456789abcdef";
  return std::string("\\x") + digits[byte(0) >> 4U] + digits[byte(0) & 0xFU];
}

constexpr const char* words[] = {"and", "or", "not", "x", "t", "pi"};

bool contains(const std::vector<std::string>& list, const std::string& word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

char axis_letter(int axis) { return "xyz"[axis]; }

std::vector<std::string> axis_letters(int axes) {
  std::vector<std::string> letters;
  for (int axis = 0; axis < axes; ++axis) letters.emplace_back(1, axis_letter(axis));
  return letters;
}

/// The axis that a word names, or -1.
int axis_of(const std::string& word, int axes) {
  for (int axis = 0; axis < axes; ++axis)
    if (word.size() == 1 && word[0] == axis_letter(axis)) return axis;
  return -1;
}

/// The value of an expression: a node, and whether it is a condition; or the nodes of a vector.
struct Value {
  int node = -1;
  bool condition = false;
  std::vector<int> vector = {};  ///< a component for each axis; empty for numbers and conditions

  bool is_vector() const { return !vector.empty(); }
  const char* kind() const { return is_vector() ? "a vector" : condition ? "a condition" : "a number"; }
  int component(std::size_t axis) const { return is_vector() ? vector[axis] : node; }
};

/// What a formula has to be.
enum class Shape { number, vector, any };

/// Reads formulas into one graph.
class Reader {
 public:
  Reader(const ExpressionNames& names, ExpressionUse use) : names_(names), use_(std::move(use)) {
    unknowns_ = static_cast<int>(names.unknowns.size());
    axis_letters_ = axis_letters(names.axes);
  }

  ExpressionGraph graph;

  int formula(const ExpressionText& text) {
    const bool vector = text.component >= 0;
    const Value value = read(text, use_.what, {}, false, vector ? Shape::vector : Shape::number);
    return vector ? value.component(text.component) : value.node;
  }

  /// Reads what was defined, with placeholders for the arguments of functions.
  void check_definitions() {
    for (std::size_t i = 0; i < names_.definitions.size(); ++i) definition(i);
    for (std::size_t i = 0; i < names_.functions.size(); ++i) {
      std::vector<int> placeholders;
      for (std::size_t a = 0; a < names_.functions[i].arguments.size(); ++a) {
        placeholders.push_back(graph.argument(first_placeholder + static_cast<int>(a)));
      }
      inserted(i, placeholders);
    }
  }

 private:
  static constexpr int first_placeholder = 1000000;
  static constexpr int max_steps = 200000;  // names and numbers read, those of inserted functions each time

  /// The text being read; inserted functions stack up.
  struct Scope {
    Scope(const ExpressionText& source, std::string label_, int text_)
        : cursor(source.text), where(source.where), label(std::move(label_)), text(text_) {}
    TextCursor cursor;
    std::string where, label;
    int text;
    std::vector<std::pair<std::string, int>> locals;
    bool only_parameters = false;  // in a definition
  };

  TextCursor& cursor() { return scope_->cursor; }

  [[noreturn]] void fail(std::size_t at, const std::string& what) const {
    const std::string place = scope_->where.empty() ? "" : scope_->where + ": ";
    throw ExpressionError(place + scope_->label + " '" + printable(scope_->cursor.text(), 120) +
                              "', character " + std::to_string(at + 1) + ": " + what,
                          at);
  }

  Value read(const ExpressionText& source, const std::string& label,
             std::vector<std::pair<std::string, int>> locals, bool only_parameters, Shape shape) {
    Scope scope(source, label, text_index(source, label));
    scope.locals = std::move(locals);
    scope.only_parameters = only_parameters;
    Scope* const outer = scope_;
    scope_ = &scope;
    if (source.text.size() > Expressions::max_length)
      fail(Expressions::max_length,
           "it is longer than " + std::to_string(Expressions::max_length) + " characters; use functions");
    const Value value = any();
    cursor().skip_spaces();
    if (!cursor().at_end())
      fail(cursor().at(), "an operator was expected here, not " + shown() + unbalanced());
    if (value.condition)
      fail(0, "this is a condition; a number is needed, for example if(" + printable(source.text, 20) +
                  ", 1, 0)");
    if (value.is_vector() && shape == Shape::number)
      fail(0, "this is a vector; a number is needed, for example one component, d(u,x)");
    const bool is_zero = !value.is_vector() && graph.is_constant(value.node, 0);
    if (!value.is_vector() && shape == Shape::vector && names_.axes > 1 && !is_zero)
      fail(0, "this is a number, but the " + label + " has " + std::to_string(names_.axes) +
                  " components; write a vector such as -D*grad(u) or \"[" + components("c*u") +
                  "]\", or a formula for each axis: {x: ..., y: ...}");
    scope_ = outer;
    return value;
  }

  int text_index(const ExpressionText& source, const std::string& label) {
    for (std::size_t i = 0; i < graph.texts.size(); ++i) {
      if (graph.texts[i].label == label && graph.texts[i].text == source.text) return static_cast<int>(i);
    }
    graph.texts.push_back({label, source.text});
    return static_cast<int>(graph.texts.size()) - 1;
  }

  /// What stands at the cursor, for messages, with what may have been meant.
  std::string shown() {
    if (cursor().at_end()) return "the end";
    const std::string_view rest = cursor().rest();
    static const std::pair<std::string_view, const char*> foreign[] = {
        {"**", "'**' (a power is '^')"},
        {"&&", "'&&' (write 'and')"},
        {"||", "'||' (write 'or')"},
        {"!", "'!' (write 'not')"},
        {"&", "'&' (write 'and')"},
        {"|", "'|' (an absolute value is abs(u); between conditions write 'or')"},
        {"=", "'=' (a comparison is '==')"},
    };
    for (const auto& [symbol, text] : foreign) {
      if (rest.substr(0, symbol.size()) == symbol) return text;
    }
    const std::string word = cursor().peek_word();
    if (!word.empty()) return "'" + printable(word) + "'";
    const std::string character = "'" + first_character(rest) + "'";
    if (static_cast<unsigned char>(rest.front()) < 0x80U) return character;
    const char* const instead = foreign_operator();
    return character + " (" + (instead != nullptr ? instead : "names are ASCII letters, digits and _") + ")";
  }
  /// What to write for the operator beyond ASCII at the cursor; null if there is none.
  const char* foreign_operator() {
    for (const auto& [character, instead] : foreign_characters) {
      if (cursor().rest().substr(0, character.size()) == character) return instead;
    }
    return nullptr;
  }
  std::string unbalanced() {
    return cursor().peek() == ')' ? ": this ')' closes nothing"
                                  : "; operators: + - * / ^ < <= > >= == != and or";
  }

  void expect(const char* symbol, const std::string& after) {
    if (cursor().take(symbol)) return;
    cursor().skip_spaces();
    fail(cursor().at(), "'" + std::string(symbol) + "' was expected after " + after + ", not " + shown());
  }

  void need_condition(const Value& value, std::size_t at, const std::string& who) const {
    if (!value.condition) fail(at, who + " needs a condition such as u > 0; this is " + value.kind());
  }
  void need_number(const Value& value, std::size_t at, const std::string& who) const {
    if (value.is_vector()) fail(at, who + " needs a number; this is a vector, whose components are numbers");
    if (value.condition) fail(at, who + " needs a number; this is a condition, see if(condition, a, b)");
  }
  void need_number_or_vector(const Value& value, std::size_t at, const std::string& who) const {
    if (!value.is_vector()) need_number(value, at, who);
  }

  /// "a, b": the text once for each axis.
  std::string components(const std::string& text) const {
    return join(std::vector<std::string>(axis_letters_.size(), text));
  }
  /// The equation, for messages.
  std::string equation() const {
    return names_.axes == 1 ? "d/dt storage + d/dx flux = source" : "d/dt storage + div flux = source";
  }

  /// Start of what comes next.
  std::size_t begin() {
    cursor().skip_spaces();
    return cursor().at();
  }

  /// An operation that was written from `start` to the cursor.
  int make(std::size_t start, Op op, int a, int b = -1, int c = -1) {
    graph.origin = {scope_->text, static_cast<int>(start), static_cast<int>(cursor().at()), false};
    const int node = graph.make(op, a, b, c);
    need_room(start);
    return node;
  }
  void need_room(std::size_t at) const {
    if (graph.size() <= Expressions::max_nodes && steps_ <= max_steps) return;
    fail(at, "the formulas are too long once their functions are inserted; allowed: " +
                 std::to_string(Expressions::max_nodes) + " operations");
  }

  struct Nesting {
    Nesting(Reader& reader, std::size_t at) : depth(reader.nesting_) {
      if (++depth > Expressions::max_nesting) {
        reader.fail(at,
                    "nested too deeply; allowed: " + std::to_string(Expressions::max_nesting) + " levels");
      }
    }
    ~Nesting() { --depth; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;
    int& depth;
  };

  Value any() {
    const std::size_t start = begin();
    const Nesting nesting(*this, start);
    Value left = all();
    while (cursor().take_word("or")) {
      need_condition(left, start, "'or'");
      const std::size_t second = begin();
      const Value right = all();
      need_condition(right, second, "'or'");
      left = {make(start, Op::either, left.node, right.node), true};
    }
    return left;
  }

  Value all() {
    const std::size_t start = begin();
    Value left = inverse();
    while (cursor().take_word("and")) {
      need_condition(left, start, "'and'");
      const std::size_t second = begin();
      const Value right = inverse();
      need_condition(right, second, "'and'");
      left = {make(start, Op::both, left.node, right.node), true};
    }
    return left;
  }

  Value inverse() {
    const std::size_t start = begin();
    bool inverted = false, any_not = false;
    while (cursor().take_word("not")) {
      inverted = !inverted;
      any_not = true;
    }
    const std::size_t second = begin();
    const Value value = comparison();
    if (any_not) need_condition(value, second, "'not'");
    return inverted ? Value{make(start, Op::opposite, value.node), true} : value;
  }

  std::string take_comparison() {
    for (const char* op : {"<=", ">=", "==", "!=", "<", ">"}) {
      if (cursor().take(op)) return op;
    }
    if (cursor().peek() == '=') fail(cursor().at(), "'=' is no comparison; did you mean '=='?");
    return "";
  }

  Value comparison() {
    const std::size_t start = begin();
    const Value left = sum();
    const std::string op = take_comparison();
    if (op.empty()) return left;
    need_number(left, start, "'" + op + "'");
    const std::size_t second = begin();
    const Value right = sum();
    need_number(right, second, "'" + op + "'");
    const int a = left.node, b = right.node;
    const Value value{op == "<"    ? make(start, Op::less, a, b)
                      : op == ">"  ? make(start, Op::less, b, a)
                      : op == "<=" ? make(start, Op::less_equal, a, b)
                      : op == ">=" ? make(start, Op::less_equal, b, a)
                      : op == "==" ? make(start, Op::equal, a, b)
                                   : make(start, Op::not_equal, a, b),
                      true};
    const std::size_t third = begin();
    if (!take_comparison().empty()) fail(third, "comparisons cannot be chained; write 'a < b and b < c'");
    return value;
  }

  Value sum() {
    const std::size_t start = begin();
    Value left = product();
    while (true) {
      const char op = cursor().take("+") ? '+' : cursor().take("-") ? '-' : 0;
      if (op == 0) return left;
      left = arithmetic(op, start, left, &Reader::product);
    }
  }

  Value product() {
    const std::size_t start = begin();
    Value left = signed_power();
    while (true) {
      cursor().skip_spaces();
      if (cursor().rest().substr(0, 2) == "**") fail(cursor().at(), "'**' is no operator; a power is '^'");
      const char op = cursor().take("*") ? '*' : cursor().take("/") ? '/' : 0;
      if (op == 0) return left;
      left = arithmetic(op, start, left, &Reader::signed_power);
    }
  }

  Value arithmetic(char op, std::size_t start, const Value& left, Value (Reader::*next)()) {
    const std::string who = std::string("'") + op + "'";
    need_number_or_vector(left, start, who);
    const std::size_t second = begin();
    const Value right = (this->*next)();
    need_number_or_vector(right, second, who);
    const Op code = op == '+' ? Op::add : op == '-' ? Op::subtract : op == '*' ? Op::multiply : Op::divide;
    if (!left.is_vector() && !right.is_vector()) return {make(start, code, left.node, right.node), false};
    if (code == Op::divide && right.is_vector()) fail(second, "nothing can be divided by a vector");
    if (code == Op::multiply && left.is_vector() && right.is_vector())
      fail(second, "vectors have no product; write the components out, for example a*d(u,x) + b*d(u,y)");
    if ((op == '+' || op == '-') && left.is_vector() != right.is_vector())
      fail(second, who + " stands between " + left.kind() + " and " + right.kind() +
                       "; a vector with equal components is \"[" + components("a") + "]\"");
    Value result;
    for (std::size_t axis = 0; axis < axis_letters_.size(); ++axis)
      result.vector.push_back(make(start, code, left.component(axis), right.component(axis)));
    return result;
  }

  Value signed_power() {
    const std::size_t start = begin();
    bool negative = false, any_sign = false;
    while (true) {
      if (cursor().take("-")) {
        negative = !negative;
      } else if (!cursor().take("+")) {
        break;
      }
      any_sign = true;
    }
    const std::size_t second = begin();
    const Value value = power();
    if (any_sign) need_number_or_vector(value, second, "a sign");
    if (!negative) return value;
    if (!value.is_vector()) return {make(start, Op::negate, value.node), false};
    Value result;
    for (const int component : value.vector) result.vector.push_back(make(start, Op::negate, component));
    return result;
  }

  Value power() {
    const std::size_t start = begin();
    const Value base = atom();
    if (!cursor().take("^")) return base;
    need_number(base, start, "'^'");
    const std::size_t second = begin();
    const Nesting nesting(*this, second);
    const Value exponent = signed_power();
    need_number(exponent, second, "'^'");
    return {make(start, Op::power, base.node, exponent.node), false};
  }

  Value atom() {
    const std::size_t start = begin();
    ++steps_;
    need_room(start);
    if (cursor().at_end()) fail(start, "the formula ends where a value was expected");
    if (cursor().take("(")) {
      const Value inner = any();
      expect(")", "what stands in parentheses");
      return inner;
    }
    if (cursor().take("[")) return vector(start);
    if (TextCursor::is_digit(cursor().peek()) || cursor().peek() == '.') return number();
    const std::string word = cursor().peek_word();
    if (word.empty()) fail(start, "a value was expected here, not " + shown());
    cursor().advance(word.size());
    if (static_cast<unsigned char>(cursor().peek()) >= 0x80U && foreign_operator() == nullptr)
      fail(cursor().at(), "a name cannot hold " + shown());
    return cursor().take("(") ? call(word, start) : Value{name(word, start), false};
  }

  /// [a, b]: what follows the opening bracket.
  Value vector(std::size_t start) {
    Value result;
    do {
      const std::size_t at = begin();
      const Value component = any();
      need_number(component, at, "a component of a vector");
      result.vector.push_back(component.node);
    } while (cursor().take(","));
    expect("]", "the components of a vector");
    if (result.vector.size() != axis_letters_.size())
      fail(start, "a vector of " + std::to_string(result.vector.size()) + "; the equation has the axes " +
                      join(axis_letters_) + ": [" + components("a") + "]");
    return result;
  }

  Value number() {
    const std::size_t start = cursor().at();
    const std::string text = cursor().take_number();
    double value = 0;
    const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
    const auto read = static_cast<std::size_t>(end - text.data());
    if (status != std::errc() && read == text.size())
      fail(start, "'" + printable(text) + "' is outside the range of numbers (1e-308 to 1e308)");
    if (status != std::errc() || (read < text.size() && text[read] == '.'))
      fail(start, "'" + printable(text) + "' is not a number");
    if (read < text.size()) {
      fail(start + read, "an operator was expected between " + text.substr(0, read) + " and '" +
                             printable(text.substr(read)) + "'; a product is " + text.substr(0, read) + "*" +
                             printable(text.substr(read)));
    }
    graph.origin = {scope_->text, static_cast<int>(start), static_cast<int>(cursor().at()), false};
    return {graph.constant(value), false};
  }

  std::vector<std::string> known_names() const {
    std::vector<std::string> result;
    for (const auto& local : scope_->locals) result.push_back(local.first);
    if (use_.unknowns && !scope_->only_parameters)
      result.insert(result.end(), names_.unknowns.begin(), names_.unknowns.end());
    if (use_.fields && !scope_->only_parameters)
      result.insert(result.end(), names_.fields.begin(), names_.fields.end());
    result.insert(result.end(), names_.parameters.begin(), names_.parameters.end());
    for (const auto& definition : names_.definitions) result.push_back(definition.first);
    for (const auto& constant : names_.constants) result.push_back(constant.first);
    for (int axis = 0; axis < names_.axes; ++axis)
      if (has_position(axis) && !scope_->only_parameters) result.push_back(axis_letters_[axis]);
    if (use_.time && !scope_->only_parameters) result.emplace_back("t");
    result.emplace_back("pi");
    return result;
  }
  std::vector<std::string> known_functions() const {
    std::vector<std::string> result;
    for (const Builtin& entry : builtins) result.emplace_back(entry.name);
    if (use_.derivatives) result.emplace_back("grad");
    for (const ExpressionFunction& function : names_.functions) result.push_back(function.name);
    return result;
  }

  bool has_position(int axis) const { return use_.position && axis != use_.fixed_axis; }

  int name(const std::string& word, std::size_t start) {
    graph.origin = {scope_->text, static_cast<int>(start), static_cast<int>(cursor().at()), false};
    for (const auto& [local, node] : scope_->locals) {
      if (word == local) return node;
    }
    const std::string kind = scope_->only_parameters ? "the value of a parameter" : "the " + use_.what;
    const auto allowed = [&](bool may, const char* what) {
      if (may && !scope_->only_parameters) return;
      fail(start, std::string(what) + " '" + printable(word) + "' cannot be used in " + kind +
                      "; names: " + join(known_names()));
    };
    for (int k = 0; k < unknowns_; ++k) {
      if (word != names_.unknowns[k]) continue;
      allowed(use_.unknowns, "the unknown");
      return graph.argument(k);
    }
    for (std::size_t k = 0; k < names_.fields.size(); ++k) {
      if (word != names_.fields[k]) continue;
      allowed(use_.fields, "the field");
      return graph.position(names_.axes + static_cast<int>(k));
    }
    for (std::size_t p = 0; p < names_.parameters.size(); ++p) {
      if (word == names_.parameters[p]) return graph.parameter(static_cast<int>(p));
    }
    for (std::size_t i = 0; i < names_.definitions.size(); ++i) {
      if (word != names_.definitions[i].first) continue;
      if (contains(defining_, word))
        fail(start, defining_.back() == word
                        ? "the parameter '" + word + "' refers to itself"
                        : "the parameter '" + word + "' refers to itself by way of others (" +
                              join(defining_, " -> ") + " -> " + word + ")");
      return definition(i);
    }
    for (const auto& [constant, value] : names_.constants) {
      if (word == constant) return graph.constant(value);
    }
    if (word == "pi") return graph.constant(std::numbers::pi);
    if (const int axis = axis_of(word, names_.axes); axis >= 0) {
      allowed(has_position(axis), "the position");
      return graph.position(axis);
    }
    if (word == "t") {
      allowed(use_.time, "the time");
      return graph.time();
    }
    if (contains(known_functions(), word)) {
      fail(start + word.size(), "'(' was expected after the function '" + word + "'");
    }
    std::string hint = derivative_hint(word) + axis_hint(word);
    if (hint.empty()) hint = did_you_mean(word, known_names());
    fail(start, "unknown name '" + printable(word) + "'" + hint + " (names: " + join(known_names()) + ")");
  }

  /// What "y" and "z" need where the equation has fewer axes.
  std::string axis_hint(const std::string& word) const {
    const int axis = axis_of(word, 3);
    if (!use_.position || axis < names_.axes) return {};
    std::string lengths = "1";
    for (int i = 1; i <= axis; ++i) lengths += ", 1";
    return "; the equation has the " + std::string(names_.axes == 1 ? "axis " : "axes ") +
           join(axis_letters_) + ", and " + word + " with " + std::to_string(axis + 1) +
           " numbers in its length, for example length: [" + lengths + "]";
  }

  /// What to write for "u_x", "u_xx", "u_t"; empty for other words.
  std::string derivative_hint(const std::string& word) const {
    for (const std::string& unknown : names_.unknowns) {
      if (word.size() <= unknown.size() + 1 || word.compare(0, unknown.size() + 1, unknown + "_") != 0)
        continue;
      const std::string by = word.substr(unknown.size() + 1);
      const bool space = by.find_first_not_of(join(axis_letters_, "")) == std::string::npos;
      if (by == "t" || by == "tt")
        return "; derivatives in time stand in the storage: the equation is " + equation();
      if (!space) continue;
      if (by.size() > 1 && names_.axes > 1) return std::string("; ") + divergence;
      std::string written = "d(" + unknown;
      for (const char letter : by) written += std::string(",") + letter;
      const bool may = use_.derivatives && !scope_->only_parameters;
      return "; a derivative is written '" + written + ")'" + (may ? "" : ", and stands in a flux only");
    }
    return {};
  }

  int definition(std::size_t index) {
    if (const auto known = definition_nodes_.find(index); known != definition_nodes_.end())
      return known->second;
    const auto& [name, text] = names_.definitions[index];
    defining_.push_back(name);
    const int node = read(text, "parameter '" + name + "'", {}, true, Shape::number).node;
    defining_.pop_back();
    definition_nodes_[index] = node;
    return node;
  }

  /// The arguments of a call, to the closing parenthesis.
  std::vector<std::pair<Value, std::size_t>> call_arguments(const std::string& word) {
    std::vector<std::pair<Value, std::size_t>> arguments;
    if (cursor().take(")")) return arguments;
    do {
      const std::size_t at = begin();
      arguments.emplace_back(any(), at);
    } while (cursor().take(","));
    expect(")", "the arguments of " + word);
    return arguments;
  }

  Value call(const std::string& word, std::size_t start) {
    if (word == "d") return {derivative(start), false};
    const Builtin* known = builtin(word);
    std::size_t function = 0;
    while (function < names_.functions.size() && names_.functions[function].name != word) ++function;
    if (known == nullptr && function == names_.functions.size()) {
      if (word == "grad") return gradient(start);
      if (contains(known_names(), word))
        fail(start, "'" + word + "' is no function; a product is " + word + "*(...)");
      std::string hint;
      for (const auto& [name, instead] : foreign_functions) {
        if (word == name) hint = std::string("; ") + instead;
      }
      if (hint.empty()) hint = did_you_mean(word, known_functions());
      fail(start, "unknown function '" + printable(word) + "'" + hint +
                      " (functions: " + join(known_functions()) + ")");
    }
    const auto arguments = call_arguments(word);
    const auto wrong_count = [&](const std::string& usage) {
      fail(start, "'" + word + "' has " + std::to_string(arguments.size()) +
                      (arguments.size() == 1 ? " argument" : " arguments") + " here; it is " + usage);
    };
    for (std::size_t i = 0; i < arguments.size(); ++i) {
      const auto& [value, at] = arguments[i];
      if (known != nullptr && known->op == Op::select && i == 0) {
        need_condition(value, at, "'if'");
      } else {
        need_number(value, at, "'" + word + "'");
      }
    }
    if (known == nullptr) {
      const ExpressionFunction& definition = names_.functions[function];
      if (arguments.size() != definition.arguments.size())
        wrong_count(word + "(" + join(definition.arguments) + ")");
      std::vector<int> nodes;
      for (const auto& argument : arguments) nodes.push_back(argument.first.node);
      if (contains(active_, word))
        fail(start, "'" + word + "' calls itself (" + join(active_, " -> ") + " -> " + word +
                        "); functions are inserted where they are called, so they cannot");
      const Nesting nesting(*this, start);
      return inserted(function, nodes);
    }
    if (known->op == Op::select) {
      if (arguments.size() != 3) wrong_count(known->arguments);
      return {
          make(start, Op::select, arguments[0].first.node, arguments[1].first.node, arguments[2].first.node),
          false};
    }
    if (known->op == Op::minimum || known->op == Op::maximum) {
      if (arguments.size() < 2) wrong_count(known->arguments);
      int node = arguments[0].first.node;
      for (std::size_t i = 1; i < arguments.size(); ++i)
        node = make(start, known->op, node, arguments[i].first.node);
      return {node, false};
    }
    if (arguments.size() != 1) wrong_count(known->arguments);
    return {make(start, known->op, arguments[0].first.node), false};
  }

  /// The body of a function with nodes for its arguments.
  Value inserted(std::size_t index, const std::vector<int>& nodes) {
    const auto key = std::make_pair(index, nodes);
    if (const auto known = inserted_.find(key); known != inserted_.end()) return known->second;
    const ExpressionFunction& function = names_.functions[index];
    std::vector<std::pair<std::string, int>> locals;
    for (std::size_t i = 0; i < nodes.size(); ++i) locals.emplace_back(function.arguments[i], nodes[i]);
    active_.push_back(function.name);
    const Value value =
        read(function.body, "function '" + function.name + "'", std::move(locals), false, Shape::any);
    active_.pop_back();
    inserted_[key] = value;
    return value;
  }

  /// What stands behind the opening parenthesis of `word`, to be differentiated in space: node and text.
  std::pair<int, std::string> differentiated(const std::string& word, std::size_t start) {
    if (!use_.derivatives || scope_->only_parameters) {
      fail(start,
           "derivatives can stand in a flux only, not in " +
               (scope_->only_parameters ? std::string("the value of a parameter") : "the " + use_.what) +
               "; the equation is " + equation());
    }
    const std::size_t inner = begin();
    const Value value = any();
    need_number(value, inner, "'" + word + "'");
    std::string text(cursor().text().substr(inner, cursor().at() - inner));
    while (!text.empty() && text.back() == ' ') text.pop_back();
    return {value.node, text};
  }
  void need_variation(int node, const std::string& text, std::size_t at, const std::string& by,
                      const std::string& usage) const {
    if (!varies_in_space(node))
      fail(at, "the derivative of a constant: '" + printable(text, 20) + "' holds neither an unknown nor " +
                   by + "; " + usage + " differentiates what does");
  }

  /// grad(e): what follows the opening parenthesis.
  Value gradient(std::size_t start) {
    const std::size_t inner = begin();
    const auto [node, text] = differentiated("grad", start);
    expect(")", "the argument of grad");
    need_variation(node, text, inner, join(axis_letters_, " or "), "grad(u)");
    Value result;
    for (int axis = 0; axis < names_.axes; ++axis) result.vector.push_back(in_space(node, start, axis));
    return result;
  }

  /// d(e, x), d(e, x, x): what follows the opening parenthesis.
  int derivative(std::size_t start) {
    const std::size_t inner = begin();
    auto [node, text] = differentiated("d", start);
    if (!cursor().take(",")) {
      cursor().skip_spaces();
      fail(cursor().at(), "',' was expected in d(u, x), not " + shown());
    }
    bool first = true;
    do {
      const std::size_t at = begin();
      const std::string by = cursor().peek_word();
      cursor().advance(by.size());
      std::string allowed = "; allowed: d(u, x)";
      for (int axis = 1; axis < names_.axes; ++axis) allowed += ", d(u, " + axis_letters_[axis] + ")";
      if (names_.axes == 1) allowed += ", d(u, x, x)";
      if (by == "t")
        fail(at, "there is no derivative in time in a flux: the equation itself is " + equation() + allowed);
      const int axis = axis_of(by, names_.axes);
      if (axis < 0) {
        cursor().move_to(at);
        fail(at, "the variable of a derivative is " + join(axis_letters_, " or ") + ", not " + shown() +
                     allowed + axis_hint(by));
      }
      if (first) need_variation(node, text, inner, by, "d(u, " + by + ")");
      first = false;
      node = in_space(node, start, axis);
    } while (cursor().take(","));
    expect(")", "the variables of d");
    return node;
  }

  bool varies_in_space(int node) const {
    const std::vector<char> mark = graph.reached({node});
    for (int i = 0; i < static_cast<int>(mark.size()); ++i) {
      if (mark[i] && (graph[i].op == Op::argument || graph[i].op == Op::position)) return true;
    }
    return false;
  }

  /// The derivative along an axis by the chain rule: of the position itself, of unknowns, of their derivatives.
  int in_space(int node, std::size_t start, int axis) {
    graph.origin = {scope_->text, static_cast<int>(start), static_cast<int>(cursor().at()), false};
    const std::vector<char> mark = graph.reached({node});
    std::vector<int> leaves;
    for (int i = 0; i < static_cast<int>(mark.size()); ++i) {
      if (mark[i] && (graph[i].op == Op::argument || graph[i].op == Op::position)) leaves.push_back(i);
    }
    int result = graph.constant(0);
    for (const int leaf : leaves) {
      if (graph[leaf].op == Op::position && graph[leaf].index < names_.axes && graph[leaf].index != axis)
        continue;
      const int slope = graph.derivative(node, leaf);
      if (graph.is_constant(slope, 0)) continue;
      if (graph[leaf].op == Op::position && graph[leaf].index >= names_.axes)
        fail(start,
             "the derivative of the field '" + names_.fields[graph[leaf].index - names_.axes] +
                 "' in space is not known; the flux is differentiated as a whole, so write the field before "
                 "the derivative, as in K*d(u,x)");
      if (graph[leaf].op == Op::position) {
        result = graph.add(result, slope);
        continue;
      }
      const int index = graph[leaf].index;
      const bool placeholder = index >= first_placeholder;
      if (!placeholder && index >= unknowns_ && names_.axes > 1)
        fail(start,
             "this is a second derivative of '" + names_.unknowns[index % unknowns_] +
                 "'; with several axes a flux holds first derivatives only, of which the equation takes "
                 "the divergence");
      if (!placeholder && index >= 2 * unknowns_) {
        const std::string& unknown = names_.unknowns[index % unknowns_];
        fail(start, "this is the third derivative of '" + unknown +
                        "'; the stencils have the first and second derivative in a flux, which the equation "
                        "differentiates once more: d(" +
                        unknown + ", x), d(" + unknown + ", x, x)");
      }
      const int next = graph.argument(placeholder ? index : index + (1 + axis) * unknowns_);
      result = graph.add(result, graph.multiply(slope, next));
    }
    need_room(start);
    return result;
  }

  const ExpressionNames& names_;
  ExpressionUse use_;
  int unknowns_ = 0;
  Scope* scope_ = nullptr;
  int nesting_ = 0, steps_ = 0;
  std::vector<std::string> active_, defining_;
  std::map<std::size_t, int> definition_nodes_;
  std::map<std::pair<std::size_t, std::vector<int>>, Value> inserted_;
  std::vector<std::string> axis_letters_;
};

}  // namespace

std::string Expressions::name_fault(const std::string& name, int axes) {
  const bool is_word = !name.empty() && !TextCursor::is_digit(name.front()) &&
                       std::all_of(name.begin(), name.end(), &TextCursor::in_word);
  if (!is_word)
    return "'" + printable(name) +
           "' is no name: ASCII letters, digits and '_', no digit first (decimals have a point: 0.5)";
  const bool is_taken = builtin(name) != nullptr ||
                        std::find(std::begin(words), std::end(words), name) != std::end(words) ||
                        axis_of(name, axes) >= 0;
  if (is_taken) return "'" + name + "' is a word of the language; choose another name";
  return {};
}

ExpressionFunction Expressions::function(const ExpressionText& signature, ExpressionText body) {
  TextCursor cursor(signature.text);
  const auto fail = [&](const std::string& what) {
    throw ExpressionError(signature.where + ": function '" + printable(signature.text) + "', character " +
                              std::to_string(cursor.at() + 1) + ": " + what +
                              "; write for example R(u) or f(u, v)",
                          cursor.at());
  };
  const auto word = [&] {
    std::string name = cursor.peek_word();
    const std::string fault = name_fault(name);
    if (!fault.empty()) fail(name.empty() ? "a name was expected" : fault);
    cursor.advance(name.size());
    return name;
  };
  ExpressionFunction result;
  result.name = word();
  result.body = std::move(body);
  if (!cursor.take("(")) fail("'(' was expected after the name of the function");
  do {
    std::string argument = word();
    if (contains(result.arguments, argument)) fail("the argument '" + argument + "' stands twice");
    result.arguments.push_back(std::move(argument));
  } while (cursor.take(","));
  if (!cursor.take(")")) fail("',' or ')' was expected after an argument");
  cursor.skip_spaces();
  if (!cursor.at_end()) fail("nothing can follow the ')'");
  return result;
}

Expressions::Expressions(ExpressionNames names) : names_(std::move(names)) {
  std::vector<std::pair<std::string, std::string>> seen;  // name, what it is
  const auto add = [&](const std::string& name, const std::string& what, const std::string& where) {
    const std::string place = where.empty() ? "" : where + ": ";
    const std::string fault = name_fault(name, names_.axes);
    if (!fault.empty()) throw InputError(place + what + " " + fault);
    for (const auto& [other, other_what] : seen) {
      if (other == name)
        throw InputError(place + what + " '" + name + "' has the name of " +
                         (other_what == what ? "another one" : "an earlier " + other_what) +
                         "; choose another name");
    }
    seen.emplace_back(name, what);
  };
  for (const auto& [name, value] : names_.constants) add(name, "constant", "");
  for (const std::string& name : names_.unknowns) add(name, "unknown", "");
  for (const std::string& name : names_.fields) add(name, "field", "");
  for (const std::string& name : names_.parameters) add(name, "parameter", "");
  for (const auto& [name, text] : names_.definitions) add(name, "parameter", text.where);
  for (const ExpressionFunction& function : names_.functions) {
    add(function.name, "function", function.body.where);
    for (const std::string& argument : function.arguments)
      if (axis_of(argument, names_.axes) >= 0)
        throw InputError(function.body.where + ": the argument '" + argument + "' of the function '" +
                         function.name + "' has the name of an axis; choose another name");
  }
}

void Expressions::check() const {
  Reader reader(names_, {.what = "function", .derivatives = true, .fields = true});
  reader.check_definitions();
}

kernels::Program Expressions::compile(const std::vector<ExpressionText>& formulas,
                                      const ExpressionUse& use) const {
  Reader reader(names_, use);
  kernels::ProgramNames names;
  if (use.unknowns) names.arguments = names_.unknowns;
  if (use.derivatives) {
    for (const std::string suffix : {"_x", names_.axes > 1 ? "_y" : "_xx", names_.axes > 2 ? "_z" : ""}) {
      if (suffix.empty()) break;
      for (const std::string& unknown : names_.unknowns) names.arguments.push_back(unknown + suffix);
    }
  }
  names.parameters = names_.parameters;
  names.positions = axis_letters(names_.axes);
  names.positions.insert(names.positions.end(), names_.fields.begin(), names_.fields.end());
  const ExpressionText* now = nullptr;
  try {
    std::vector<int> results;
    for (const ExpressionText& formula : formulas) {
      now = &formula;
      results.push_back(reader.formula(formula));
    }
    reader.graph.origin = {};
    return kernels::Program(std::move(reader.graph), std::move(results), std::move(names));
  } catch (const ExpressionError&) {
    throw;
  } catch (const InputError& error) {  // too large
    throw ExpressionError((now == nullptr ? "" : now->where + ": ") + use.what + ": " + error.what(), 0);
  }
}

}  // namespace rankine
