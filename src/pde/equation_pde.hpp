// A PDE that a deck writes down: terms, walls and initial states as formulas (src/expressions/), compiled to
// bytecode with exact derivatives. inputs/EQUATIONS.md says how to write one.
#pragma once

#include <array>
#include <functional>
#include <optional>

#include "src/deck/node.hpp"
#include "src/expressions/expressions.hpp"
#include "src/pde/convective_flux.hpp"
#include "src/pde/random_waves.hpp"

namespace rankine {

/// The keys of an equation that are plain values.
struct EquationOptions {
  std::string title;
  std::vector<double> length{1};  ///< along each axis
  std::string length_unit = "1";
  double duration = 1;
  std::string time_unit = "1";
  std::vector<std::string> unknowns{"u"};
  std::vector<int> data_cells{1024};  ///< along each axis
  std::string convection = "central", discretisation = "finite_volume";
  double reference_rtol = 1e-7;
  long reference_steps = Pde::default_reference_steps;
  void options(OptionVisitor& o);
};

class EquationPde final : public Pde {
 public:
  static constexpr int max_unknowns = 8;

  /// Reads and checks the whole equation: names, orders of derivatives, walls, and at trial states (drawn
  /// like those of the samples) that all terms are finite, the storage rises and nothing diffuses backwards.
  /// Throws InputError.
  explicit EquationPde(const DeckNode& node);
  /// All keys, for `rankine describe`.
  static void describe(OptionVisitor& o);

  const std::string& title() const { return options_.title; }
  int axes() const override { return static_cast<int>(options_.length.size()); }
  double length(int axis) const override { return options_.length[static_cast<size_t>(axis)]; }
  double duration() const override { return options_.duration; }
  const char* length_unit() const override { return options_.length_unit.c_str(); }
  const char* time_unit() const override { return options_.time_unit.c_str(); }
  int unknowns() const override { return static_cast<int>(options_.unknowns.size()); }
  std::string field_name(int unknown) const override { return labels_[static_cast<size_t>(unknown)]; }
  std::string symbol(int unknown) const override { return options_.unknowns[static_cast<size_t>(unknown)]; }
  std::vector<PdeParameter> parameters() const override { return parameters_; }
  std::vector<std::string> fields() const override { return field_names_; }
  bool steady() const override { return steady_; }
  Discretisation discretisation() const override {
    return options_.discretisation == "fourier" ? Discretisation::fourier : Discretisation::finite_volume;
  }
  std::vector<std::string> auxiliaries() const override { return auxiliary_names_; }
  std::vector<double> auxiliary_factors(std::span<const double> parameters) const override;
  bool flux_is_affine_in(int argument) const override;

  void storage(const kernels::TermPoints& at, int order, kernels::TermValues& out) const override;
  void flux(int axis, const kernels::TermPoints& at, int order, kernels::TermValues& out) const override;
  void source(const kernels::TermPoints& at, int order, kernels::TermValues& out) const override;
  bool has_source() const override { return has_source_; }
  int flux_derivatives() const override { return flux_derivatives_; }
  bool mixed_derivatives() const override { return mixed_derivatives_; }
  Convection convection() const override { return convection_named(options_.convection); }
  bool convective(int unknown) const override { return convective_[static_cast<size_t>(unknown)] != 0; }
  std::string explain(const std::string& term, const kernels::TermPoints& at, long point) const override;
  bool linear_flux() const override;
  bool autonomous() const override { return autonomous_; }
  std::vector<double> time_events(std::span<const double> parameters) const override;

  bool periodic(int axis) const override { return periodic_[static_cast<size_t>(axis)]; }
  bool walls_vary() const override { return walls_vary_; }
  WallCondition wall(const Face& face, int unknown, const Place& at, double t,
                     std::span<const double> parameters, std::span<const int> learned) const override;
  double typical_storage_slope() const override { return typical_slope_; }
  double typical_state(int unknown) const override { return typical_state_[static_cast<size_t>(unknown)]; }
  double size(int unknown) const override { return sizes_[static_cast<size_t>(unknown)]; }

  std::vector<double> draw_initial(const RandomStream& stream, long id, long& redrawn) const override;
  void initial_state(std::span<const double> numbers, std::span<const double> parameters,
                     std::span<const double> x, std::span<double> out) const override;
  void field_values(std::span<const double> numbers, std::span<const double> parameters,
                    std::span<const double> x, std::span<double> out) const override;
  int data_cells(int axis) const override { return options_.data_cells[static_cast<size_t>(axis)]; }
  double reference_rtol() const override { return options_.reference_rtol; }
  long reference_steps() const override { return options_.reference_steps; }

  /// Whether the deck gives the exact solution.
  bool has_exact() const { return exact_.has_value(); }
  /// out[point][unknown] = exact solution at points x [axis][point] and time t.
  void exact(double t, std::span<const double> parameters, std::span<const double> x,
             std::span<double> out) const;

 private:
  /// How an unknown starts, or what a coefficient field is.
  struct Initial {
    enum class Kind { none, constant, fourier, gaussian_random_field };
    Kind kind = Kind::none;
    double minimum = 0, maximum = 1;                      // constant
    int modes = 4;                                        // fourier
    double amplitude = 1, decay = 1, knee = 0, mean = 0;  // fourier, gaussian_random_field
    double length_scale = 0.1;                            // gaussian_random_field
    double wave = 0;  // gaussian_random_field: phase of the first wave along the domain
    bool formula = false;
    size_t numbers = 0;  // how many are drawn
    /// Weights of the waves, so that the sum has variance amplitude^2. The first is the constant's.
    std::vector<double> weights;
    std::optional<RandomWaves> waves;         // with several axes, in place of the weights
    std::array<bool, max_space_axes> tied{};  // axes between walls that hold values at t = 0
  };

  void read_options(const DeckNode& node);
  ExpressionNames read_names(const DeckNode& node);
  /// Calls `set` for each unknown that a key's value speaks of: a scalar, a list or a mapping of unknowns.
  void for_unknowns(const DeckNode& value, const std::string& key,
                    const std::function<void(size_t, const DeckNode&)>& set) const;
  /// One formula for each unknown, of a key that may be a scalar, a list or a mapping of unknowns. Left out:
  /// `fallback`, or the unknown itself if that is empty.
  std::vector<ExpressionText> read_formulas(const DeckNode& node, const std::string& key,
                                            const std::string& fallback,
                                            std::vector<char>* given = nullptr) const;
  /// The flux along each axis, [axis][unknown].
  std::vector<std::vector<ExpressionText>> read_flux(const DeckNode& node, std::vector<char>& given) const;
  /// Throws if a parameter that is a formula is not finite.
  void check_definitions(const Expressions& expressions) const;
  void read_auxiliaries(const DeckNode& node, const Expressions& expressions);
  void read_terms(const DeckNode& node, const Expressions& expressions);
  void read_walls(const DeckNode& node, const Expressions& expressions);
  void read_wall(const DeckNode& node, const Expressions& expressions, const Face& face, int unknown);
  void read_initial(const DeckNode& node, const Expressions& expressions);
  void read_fields(const DeckNode& node, const Expressions& expressions);
  /// `unknown`: whose walls the state ends at; -1 for a field. `what` names it in messages.
  void read_initial_of(const DeckNode& node, const std::string& what, int unknown, Initial& initial,
                       ExpressionText& formula);
  /// The expressions of states that are named so.
  static kernels::Program compile_states(const Expressions& expressions, const std::string& what,
                                         const std::vector<ExpressionText>& formulas,
                                         const std::vector<Initial>& states);
  /// Throws for what the Fourier discretisation cannot do.
  void check_fourier(const DeckNode& node) const;
  void read_fourier(const DeckNode& node, Initial& initial, int unknown);
  void read_field(const DeckNode& node, Initial& initial);
  /// Waves of several axes. Throws for too many numbers; `key` of the mapping says how many.
  void set_waves(const DeckNode& node, const char* key, Initial& initial,
                 const std::vector<RandomWaves::Axis>& waves,
                 const std::function<double(const RandomWaves::Waves&)>& weight) const;
  void read_typical_state(const DeckNode& node);
  void read_typical(const DeckNode& node);
  struct Trial;
  /// Sets size(), from trial states and from the values that walls hold over time.
  void measure_sizes(const std::vector<Trial>& trials);
  struct Trial {
    std::vector<double> parameters, arguments;  // arguments: those of a flux, each [unknown][trial point]
    std::vector<double> x;                      // positions and coefficient fields, [row][trial point]
  };
  Grid trial_grid() const;
  std::vector<Trial> trial_states(const DeckNode& node) const;
  /// Throws if a constant can be added to an unknown of a steady problem.
  void check_singular(const DeckNode& node) const;
  /// dM/du at points, as of order 1; the identity for a steady problem, so that signs of fluxes mean the same.
  kernels::TermValues storage_slopes(std::span<const double> u, long points,
                                     const std::vector<double>& parameters) const;
  /// Throws if an unknown's flux along an axis rises with its own slope (flux: its values at the points u, x at
  /// t = 0).
  void check_diffusion(const DeckNode& node, int axis, const kernels::TermValues& flux,
                       std::span<const double> u, const std::vector<double>& parameters,
                       std::span<const double> x) const;
  /// The same of directions between the axes (flux: that along each axis).
  void check_mixed_diffusion(const DeckNode& node, std::span<const kernels::TermValues> flux,
                             std::span<const double> u, const std::vector<double>& parameters,
                             std::span<const double> x) const;
  void check_terms(const DeckNode& node, const std::vector<Trial>& trials) const;
  /// Throws if the storage does not rise at the points (u: [unknown][point]); `where` says which they are.
  void check_storage(const DeckNode& node, std::span<const double> u, long points,
                     const std::vector<double>& parameters, const std::string& where) const;
  /// Throws if two faces hold different values where they meet.
  void check_edges(const DeckNode& node, const std::vector<Trial>& trials) const;
  bool both_walls_have_values(int unknown, int axis) const;
  /// The parameters in the middle of their ranges.
  std::vector<double> middle_parameters() const;
  size_t wall_index(const Face& face, int unknown) const;
  std::vector<Face> faces() const;  ///< those that are walls
  /// Adds what joins the values that walls hold at t = 0, along the axes that are tied.
  void add_wall_values(const Initial& initial, int unknown, std::span<const double> parameters,
                       std::span<const double> x, std::span<double> out) const;
  /// "x = 0.5, y = 1": a point of x [axis][point].
  std::string place_text(std::span<const double> x, size_t points, size_t point) const;
  std::string place_text(const Place& at) const {
    return place_text(std::span(at).first(options_.length.size()), 1, 0);
  }
  /// The random states before their expressions: [unknown][point].
  std::vector<double> random_state(std::span<const double> numbers, std::span<const double> parameters,
                                   std::span<const double> x) const {
    return random_state(initials_, true, numbers, parameters, x);
  }
  std::vector<double> random_state(const std::vector<Initial>& states, bool between_walls,
                                   std::span<const double> numbers, std::span<const double> parameters,
                                   std::span<const double> x) const;
  double wave_field(const Initial& initial, int unknown, const double* numbers, double x,
                    std::span<const double> parameters) const;
  size_t initial_numbers() const;  ///< how many numbers the initial states take
  bool is_unknown(const std::string& name) const;

  EquationOptions options_;
  std::vector<std::string> labels_;
  std::vector<PdeParameter> parameters_;
  kernels::Program storage_, source_, initial_, field_formulas_;
  std::vector<kernels::Program> flux_;  // [axis]
  std::optional<kernels::Program> exact_;
  std::vector<kernels::Program>
      walls_;  // [axis][side][unknown], results: value factor, slope factor, target, outside
  std::array<bool, max_space_axes> periodic_{};
  std::vector<Initial> initials_, fields_;
  std::vector<std::string> field_names_, auxiliary_names_;
  kernels::Program auxiliary_;                 // what the Laplacians of the auxiliary fields are
  std::vector<kernels::Program> time_events_;  // of flux, source and walls
  std::vector<double> typical_state_, sizes_;
  double typical_slope_ = 1;
  int flux_derivatives_ = 0;
  std::vector<char> convective_;  // [unknown]
  bool steady_ = false, has_source_ = false, walls_read_time_ = false, walls_vary_ = false,
       autonomous_ = true, mixed_derivatives_ = false;
};

}  // namespace rankine
