// The equations of the library (inputs/*.yaml) with walls and parameters that an exact solution has.
#pragma once

namespace rankine {

struct LibraryEquation {
  const char* name;
  const char* text;  // the deck's terms, with walls and parameters that an exact solution has
  bool linear = false;
};

// Exact solutions: heat with Dirichlet and Robin walls from the eigenfunction sin(k x), k cos k = -2 sin k;
// with Neumann walls; a wave that moves; the travelling front of Fisher-KPP (Ablowitz and Zeppetella, 1979)
// and of Allen-Cahn; the soliton of Korteweg and de Vries on a ring that is wide for it; a system with a
// source that is made for its solution.
inline const LibraryEquation library_equations[] = {
    {"HeatBetweenAValueAndARadiatingWall", R"yaml(
duration: 1
parameters: {D: 0.1, k: 2.2889297281034412}
flux: -D*d(u,x)
walls: {left: {value: 0}, right: {u: 2, u_x: 1, value: 0}}
initial: {expression: sin(k*x)}
exact: exp(-D*k^2*t)*sin(k*x)
)yaml",
     true},
    {"HeatBetweenInsulatedWalls", R"yaml(
duration: 1
parameters: {D: 0.05}
flux: -D*d(u,x)
walls: {left: {slope: 0}, right: {slope: 0}}
initial: {expression: cos(pi*x)}
exact: exp(-D*pi^2*t)*cos(pi*x)
)yaml",
     true},
    {"Advection", R"yaml(
duration: 0.5
parameters: {c: 0.8}
flux: c*u
walls: periodic
initial: {expression: sin(2*pi*x)}
exact: sin(2*pi*(x - c*t))
)yaml",
     true},
    {"FisherKpp", R"yaml(
duration: 1
parameters: {D: 0.02, r: 3}
functions: {"front(y, s)": "(1 + exp(sqrt(r/(6*D))*y - 5*r/6*s))^(-2)"}
flux: -D*d(u,x)
source: r*u*(1 - u)
walls: {left: {value: "front(0, t)"}, right: {value: "front(length, t)"}}
initial: {expression: "front(x, 0)"}
exact: front(x, t)
)yaml"},
    {"AllenCahn", R"yaml(
duration: 0.5
parameters: {D: 0.01, k: 5}
functions: {"front(y, s)": "0.5 - 0.5*tanh((y - 0.3 - 3*sqrt(k*D/2)*s)*sqrt(k/(8*D)))"}
flux: -D*d(u,x)
source: k*(u - u^3)
walls: {left: {value: "front(0, t)"}, right: {value: "front(length, t)"}}
initial: {expression: "front(x, 0)"}
exact: front(x, t)
)yaml"},
    {"KortewegDeVries", R"yaml(
length: 30
duration: 2
parameters: {c: 1}
flux: 3*u^2 + d(u,x,x)
walls: periodic
initial: {expression: c/2/cosh(sqrt(c)/2*(x - 14))^2}
exact: c/2/cosh(sqrt(c)/2*(x - 14 - c*t))^2
)yaml"},
    {"ReactionDiffusion", R"yaml(
duration: 1
unknowns: [u, v]
parameters: {Du: 0.05, Dv: 0.1, r: 2}
functions:
  "U(y, s)": 1 + 0.5*exp(-s)*cos(pi*y)
  "V(y, s)": 1 + 0.3*cos(2*s)*cos(2*pi*y)
flux: {u: "-Du*d(u,x)", v: "-Dv*d(v,x)"}
source:
  u: "r*u*(1 - u) - 2*u*v - 0.5*exp(-t)*cos(pi*x)*(1 - Du*pi^2) - r*U(x,t)*(1 - U(x,t)) + 2*U(x,t)*V(x,t)"
  v: "2*u*v - v - 0.6*sin(2*t)*cos(2*pi*x) + 0.3*Dv*4*pi^2*cos(2*t)*cos(2*pi*x) - 2*U(x,t)*V(x,t) + V(x,t)"
walls: {left: {u: {slope: 0}, v: {slope: 0}}, right: {u: {slope: 0}, v: {slope: 0}}}
initial: {u: {expression: "U(x, 0)"}, v: {expression: "V(x, 0)"}}
exact: {u: "U(x, t)", v: "V(x, t)"}
)yaml"},
};

}  // namespace rankine
