"""The ends of a domain: rings that do not close, values where everything flows out, conditions without a solution.

See cases.py for the usage.
"""
import cases


def main(check):
    def equation(more, data_cells=32, **sections):
        return check.deck(pde=f"{{name: equation, data_cells: {data_cells}, {more}}}",
                          grid="{cells: 16, frames: 10, tiles: [1, 1]}", **sections)

    def refused(name, more, *needed, **sections):
        check.says(name, check.run("check", equation(more, **sections)), 1, "deck.yaml:3", *needed)

    def accepted(name, more, **sections):
        check.says(name, check.run("check", equation(more, **sections)), 0, "in order")

    # A ring is closed.
    ring = 'walls: periodic, flux: "%s", initial: {expression: "%s"}'
    wave = "1 + 0.2*sin(2*pi*x)"
    ends = ("but with walls: periodic these are one point", "sin(2*pi*x/length)")
    refused("a speed that differs at the ends", ring % ("x*u - 0.01*d(u,x)", wave), "the flux is", "at x = 1", *ends)
    refused("a diffusion that differs", ring % ("-(1 + x)*d(u,x)", wave), "flux", *ends)
    refused("a speed that differs where u is 0", ring % ("x*u - d(u,x)", "0*x"), "flux", *ends)
    refused("a speed that differs for some samples",
            "parameters: {a: {minimum: 0, maximum: 1}}, " + ring % ("a*x*u - d(u,x)", wave), "flux", *ends)
    refused("a small speed that differs", ring % ("1e-9*x*u", wave), "flux", *ends)
    refused("a dispersion that differs", ring % ("u^2 + (1 + x)*d(u,x,x)", wave), "flux", *ends)
    refused("an initial state that differs", ring % ("-d(u,x)", "1 + 0.01*x"), "the initial state of 'u' is 1 at x = 0 and 1.01",
            "an expression whose ends agree")
    refused("a random initial state that differs",
            'walls: periodic, flux: "-d(u,x)", initial: {gaussian_random_field: {length_scale: 0.2}, expression: "u*x"}',
            "the initial state of 'u'")
    refused("a source that differs", 'source: "x", ' + ring % ("-d(u,x)", wave), "the source is 0 at x = 0 and 1 at x = 1", *ends)
    refused("a source that differs for a moment", 'source: "if(t > 0.5012 and t < 0.5032, x*u, 0)", ' + ring % ("-d(u,x)", wave),
            "the source is", *ends)
    refused("a jump at the seam", 'source: "if(x < 0.5, 1, 0)", ' + ring % ("-d(u,x)", wave), "move a jump inside")
    refused("the second of two unknowns", 'unknowns: [u, v], walls: periodic, flux: {u: "-d(u,x)", v: "-d(v,x) + x*v"}, '
            'initial: {u: {expression: "1"}, v: {expression: "cos(2*pi*x)"}}', "flux", "v = ", *ends)
    accepted("waves", ring % ("(1 + 0.5*sin(2*pi*x/length))*u - 0.01*d(u,x)", wave))
    accepted("a kink", 'source: "abs(x - 0.5)*u", ' + ring % ("-(1 + x*(length - x))*d(u,x)", "abs(x - 0.5)"))
    accepted("a jump inside", 'source: "if(x > 0.25 and x < 0.75, 1, 0)", ' + ring % ("-d(u,x)", wave))
    accepted("a pulse", ring % ("u", "exp(-((x - 0.5)/0.1)^2)"))
    accepted("a pulse to one side", ring % ("u", "exp(-((x - 0.3)/0.1)^2)"))
    accepted("x between walls", 'walls: {left: {value: 0}, right: {slope: 0}}, flux: "(1 + x)*u - 0.01*d(u,x)", initial: {expression: "x"}')
    refused("a flux that is not finite at an end",
            'walls: {left: {value: 1}, right: {slope: 0}}, flux: "u/x - d(u,x)", initial: {expression: "1"}',
            "the flux is not finite", "left end", "x = 0")

    # A value at a wall needs something that comes in there.
    flow = 'flux: "%s", walls: {left: {%s}, right: {%s}}, initial: {expression: "%s"}'
    pulse = "exp(-((x - 0.3)/0.1)^2)"
    leaves = ("is held at the", "leave the domain", "slope: 0")
    refused("a value behind the flow", flow % ("u", "value: 0", "value: 0", pulse), "right wall of 'u'", *leaves)
    refused("a value behind a flow to the left", flow % ("-2*u", "value: 0", "value: 0", pulse), "left wall of 'u'", *leaves)
    refused("a value as Robin's", flow % ("u", "value: 0", "u: 2, value: 1", pulse), "right wall of 'u'", *leaves)
    refused("a speed of x", flow % ("(2*x - 1)*u", "value: 0", "slope: 0", pulse), "left wall of 'u'", *leaves)
    refused("a speed with the sign of a parameter",
            "parameters: {c: {minimum: -1, maximum: 1}}, " + flow % ("c*u", "value: 0", "slope: 0", pulse), "left wall", *leaves)
    refused("a tide", flow % ("cos(2*pi*t)*u", "value: 0", "slope: 0", pulse), "left wall", "(t = 0.251)", *leaves)
    refused("Burgers without viscosity", flow % ("u^2/2", "value: 1", "value: 1", "1 + 0*x"), "right wall", *leaves)
    refused("one unknown of two",
            'unknowns: [u, v], flux: {u: "-d(u,x)", v: "v"}, initial: {u: {expression: "1"}, v: {expression: "1"}}, '
            "walls: {left: {u: {value: 1}, v: {value: 1}}, right: {u: {value: 1}, v: {value: 1}}}", "right wall of 'v'", *leaves)
    waves = ('unknowns: [p, q], flux: {p: "q", q: "p"}, initial: {p: {expression: "1"}, q: {expression: "0"}}, '
             "walls: {left: {p: {value: 1}, q: {%s: 0}}, right: {p: {slope: 0}, q: {value: 0}}}")
    refused("two values for one wave", waves % "value", "2 values are held at the left wall",
            "1 of the 2 characteristics leave the domain, so that 1 may be held")
    accepted("one value for one wave", waves % "slope")
    three = ('unknowns: [p, q, r], flux: {p: "q", q: "p", r: "2*r - p"}, initial: {p: {expression: "1"}, q: {expression: "0"}, '
             'r: {expression: "0"}}, walls: {left: {p: {value: 1}, q: {slope: 0}, r: {value: 1}}, '
             "right: {p: {slope: 0}, q: {value: 0}, r: {%s: 0}}}")
    refused("two values for one of three waves", three % "value", "2 values are held at the right wall",
            "2 of the 3 characteristics leave")
    accepted("one value for one of three waves", three % "slope")
    accepted("a value before the flow", flow % ("u", "value: 0", "slope: 0", pulse))
    accepted("a tide with a wall that turns",
             flow % ("cos(2*pi*t)*u", 'u: "if(cos(2*pi*t) > 0, 1, 0)", u_x: "if(cos(2*pi*t) > 0, 0, 1)"', "slope: 0", pulse))
    accepted("flows that meet", flow % ("u^2/2", "value: 1", "value: -1", "1 - 2*x"))
    accepted("viscosity", flow % ("u^2/2 - 0.01*d(u,x)", "value: 0", "value: 0", pulse))
    accepted("a diffusion that may vanish", flow % ("u - u*d(u,x)", "value: 0", "value: 0", pulse))
    accepted("an unknown that does not move", 'unknowns: [u, v], source: {v: "u"}, flux: {u: "-d(u,x)"}, initial: {u: {expression: '
             '"1"}, v: {expression: "0"}}, walls: {left: {u: {value: 1}, v: {value: 0}}, right: {u: {value: 1}, v: {value: 0}}}')
    check.says("built-in Burgers between walls", check.run("check", check.deck(pde="{name: burgers, walls: values, data_cells: 64}")), 0)
    # What only the solution shows ends the run.
    deck = equation(flow % ("u^2/2", "value: 0", "value: 0", "0.5*sin(pi*x)"))
    check.says("a wave arrives: check", check.run("check", deck), 0)
    check.says("a wave arrives", check.run("run", deck), 2, "leaves through the right wall of 'u' at t = ", "holds the value 0", "slope: 0")
    deck = equation(flow % ("u^2/2", "value: 0", "slope: 0", "x"))
    check.says("a wave leaves", check.run("run", deck), 0)

    # A condition has a solution on every grid.
    robin = 'flux: "-0.1*d(u,x)", walls: {left: {%s}, right: {%s}}, initial: {gaussian_random_field: {length_scale: 0.2, amplitude: 0.3}}'
    singular = "is singular or has the wrong sign"
    refused("singular at the left", robin % ("u: 32, u_x: 1, value: 1", "slope: 0"), "left wall of 'u' at t = 0", singular,
            "cells: with the wall", "opposite signs at the left")
    refused("singular at the right", robin % ("slope: 0", "u: -32, u_x: 1, value: 1"), "right wall of 'u' at t = 0", singular)
    refused("singular on the data's grid alone", robin % ("u: 64, u_x: 1, value: 1", "slope: 0"), singular)
    refused("singular on half the cells", robin % ("u: 16, u_x: 1, value: 1", "slope: 0"), singular, "grid of 8 cells", "16 - 16 = 0")
    refused("not quite singular", robin % ("u: 16.001, u_x: 1, value: 1", "slope: 0"), singular, "grid of 8 cells")
    refused("singular in between", robin % ('u: "100*t", u_x: 1, value: 1', "slope: 0"), "left wall of 'u' at t = 0.1", singular)
    refused("singular for some samples", "parameters: {h: {minimum: 1, maximum: 40}}, " + robin % ("u: h, u_x: 1, value: 1", "slope: 0"),
            "left wall of 'u'", singular)
    refused("the wrong sign", robin % ("slope: 0", "u: -1000, u_x: 1, value: 1"), "right wall of 'u'", singular, "the same sign at the right")
    refused("no condition for a while", robin % ('u: "if(t < 0.5, 1, 0)", u_x: 0, value: 1', "slope: 0"),
            "left wall of 'u' at t = 0.5", "both factors are 0")
    refused("a factor that passes through 0", robin % ('u: "t - 0.33333", value: 1', "slope: 0"), "left wall of 'u'",
            "says nothing between t = 0.333 and 0.334")
    refused("a value beyond all numbers", robin % ("slope: 0", "u_x: 1e-320, value: 1"), "right wall of 'u'", "asks for the value inf")
    accepted("a factor that jumps to the other sign", robin % ('u: "if(t < 0.33333, -1, 1)", value: 1', "slope: 0"))
    refused("a factor that is not finite", robin % ('u: "1/abs(t - 0.5)", u_x: -1, value: 1', "slope: 0"), "left wall of 'u' at t = 0.5", "not finite")
    refused("a value that is not finite", robin % ("slope: 0", 'value: "log(0.3 - t)"'), "right wall of 'u' at t = 0.3", "not finite")
    refused("outside of no domain", "parameters: {a: {minimum: -1, maximum: 1}}, " + robin % ('value: 1, outside: "a"', "slope: 0"),
            "stands -", "from 0 to the length")
    accepted("what takes away", robin % ("u: 1000, u_x: -1, value: 1", "u: 1000, u_x: 1, value: 1"))
    accepted("what feeds and is resolved", robin % ("u: 3, u_x: 1, value: 1", "u: -3, u_x: 1, value: 1"))
    accepted("a wall that turns from one kind to the other",
             robin % ('u: "if(t < 0.5, 1, 0)", u_x: "if(t < 0.5, 0, 1)", value: 1', "u: 1, u_x: 1e-12, value: 1"))
    check.says("diffusion-sorption", check.run("check", check.deck()), 0)
    for path in sorted((check.source / "inputs").glob("*.yaml")):
        check.says(path.name, check.run("check", path), 0, "in order")


cases.main(main)
