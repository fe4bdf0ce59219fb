#include "tests/unit/tensor/difference.hpp"

namespace rankine {
namespace {

using testing::expect_gradient;
using testing::expect_second_gradient;
using testing::random_tensor;
using List = std::vector<Tensor>;

Tensor values(std::initializer_list<double> list) {
  return Tensor::from(std::vector<double>(list), {static_cast<std::int64_t>(list.size())});
}

TEST(Tape, SeveralRootsSeedsAndIntermediates) {
  const Tensor x = variable(values({1, 2}));
  const Tensor y = square(x);  // 1, 4
  const Tensor z = mul(y, x);  // x^3
  const auto g = grad({z, y}, {values({1, 10}), values({100, 0})}, {x, y, z});
  EXPECT_EQ(g[0].to_vector(), (std::vector<double>{3 + 200, 120}));
  EXPECT_EQ(g[1].to_vector(), (std::vector<double>{1 + 100, 20}));  // total gradient at y
  EXPECT_EQ(g[2].to_vector(), (std::vector<double>{1, 10}));
}

TEST(Tape, GivesZerosWhereNothingDepends) {
  const Tensor x = variable(values({1, 2})), other = variable(values({5}));
  EXPECT_EQ(grad({sum(x)}, {}, {other})[0].to_vector(), std::vector<double>{0});
}

TEST(Tape, FreesItselfAndSaysSo) {
  const Tensor x = variable(values({3}));
  const Tensor y = square(x);
  EXPECT_EQ(grad({y}, {}, {x}, {.retain = true})[0].item(), 6);
  EXPECT_EQ(grad({y}, {}, {x})[0].item(), 6);
  EXPECT_THROW(
      {
        try {
          grad({y}, {}, {x});
        } catch (const std::logic_error& error) {
          EXPECT_NE(std::string(error.what()).find("'mul'"), std::string::npos);
          throw;
        }
      },
      std::logic_error);
}

TEST(Tape, NoGradRegionsRecordNothing) {
  const Tensor x = variable(values({3}));
  Tensor y;
  {
    const NoGrad off;
    y = square(x);
  }
  EXPECT_FALSE(y.on_tape());
  EXPECT_TRUE(square(x).on_tape());
}

TEST(Tape, HooksReadAndReplaceGradients) {
  const Tensor x = variable(values({1, 2}));
  const Tensor y = scale(x, 3);
  std::vector<double> seen;
  on_gradient(y, [&](const Tensor& g) {
    seen = g.to_vector();
    return scale(g, 10);
  });
  const auto g = grad({sum(square(y))}, {}, {x});
  EXPECT_EQ(seen, (std::vector<double>{6, 12}));
  EXPECT_EQ(g[0].to_vector(), (std::vector<double>{180, 360}));
}

TEST(Tape, CheckpointGivesTheSameGradients) {
  std::mt19937 rng(2);
  int calls = 0;
  const Function body = [&calls](const List& x) {
    ++calls;
    return List{gelu(matmul(x[0], x[1])), tanh(x[0])};
  };
  const Tensor a = random_tensor({4, 3}, rng), b = random_tensor({3, 5}, rng);
  const Tensor va = variable(a), vb = variable(b);
  const auto total = [](const List& y) { return add(sum(square(y[0])), sum(y[1])); };
  const auto direct = grad({total(body({va, vb}))}, {}, {va, vb});
  calls = 0;
  const auto again = grad({total(checkpoint(body, {va, vb}))}, {}, {va, vb});
  EXPECT_EQ(calls, 2);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(direct[i].to_vector(), again[i].to_vector());
  // An input that depends on another one: its path is counted once.
  expect_gradient(
      [&](const List& x) {
        return checkpoint(body, {x[0], matmul(transpose(x[0], 0, 1), x[0])});
      },
      {a}, 1e-7);
  expect_second_gradient([&](const List& x) { return checkpoint(body, {x[0], x[1]}); }, {a, b}, 1e-7);
}

TEST(Tape, JvpIsTheDirectionalDerivative) {
  std::mt19937 rng(4);
  const Tensor a = random_tensor({6}, rng), direction = random_tensor({6}, rng);
  const Function fn = [](const List& x) { return List{gelu(mul(x[0], x[0])), sum(exp(x[0]))}; };
  const JvpResult result = jvp(fn, {a}, {direction});
  const double h = 1e-6;
  for (int k = 0; k < 2; ++k) {
    const auto up = fn({add(a, scale(direction, h))})[k].to_vector(),
               down = fn({sub(a, scale(direction, h))})[k].to_vector();
    const auto found = result.tangents[k].to_vector();
    for (std::size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], (up[i] - down[i]) / (2 * h), 1e-8);
  }
}

TEST(Tape, CustomOpsAndTheirLimits) {
  const auto cube = [](const Tensor& x) {
    return apply_op(
        "cube", {x}, mul(mul(x.detach(), x.detach()), x.detach()),
        [x](const List& g, const VjpContext&) { return List{scale(mul(g[0], square(x.detach())), 3)}; },
        {.first_order_only = true});
  };
  const Tensor x = variable(values({2}));
  EXPECT_EQ(grad({cube(x)}, {}, {x})[0].item(), 12);
  try {
    grad({cube(x)}, {}, {x}, {.create_graph = true});
    FAIL();
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(), "op 'cube' has no second derivative: its backward pass is a fused kernel");
  }
}

TEST(Tape, LongChainsNeitherRecurseNorLeak) {
  const std::size_t before = memory_account().live;
  {
    const Tensor x = variable(values({1}));
    Tensor y = x;
    for (int i = 0; i < 200000; ++i) y = scale(y, 1.0);
    EXPECT_EQ(grad({y}, {}, {x}, {.retain = true})[0].item(), 1);
  }
  EXPECT_EQ(memory_account().live, before);
}

TEST(Tape, CountsCosts) {
  const CostAccount account;
  const Tensor a = Tensor::zeros({8, 16}, DType::f64), b = Tensor::zeros({16, 4}, DType::f64);
  matmul(a, b);
  EXPECT_EQ(account.by_op().at("matmul").flops, 2.0 * 8 * 16 * 4);
  EXPECT_EQ(account.by_op().at("matmul").bytes, 8.0 * (8 * 16 + 16 * 4 + 8 * 4));
  EXPECT_EQ(account.by_op().at("matmul").calls, 1);
}

}  // namespace
}  // namespace rankine
