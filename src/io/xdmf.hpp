// XDMF 3: a small XML file beside results.h5 with which ParaView and VisIt open its fields.
#pragma once

#include <string>

namespace rankine {

/// The description of all fields below /runs of the results `results_path`. Fields [sample, t, x]: one
/// temporal collection a run, named <variant>/seed_<s>, whose time is the sample's number and whose grids are
/// rectilinear in (x, t). Fields [sample, t, x, y] or [sample, t, x, y, z]: one temporal collection a run and
/// sample, named <variant>/seed_<s> sample <i>, whose time is t and whose grids are curvilinear: x lies along X,
/// y along Y, z along Z. Their points stand in the description, once for each grid. As z is the fastest index,
/// the cells of three axes are left-handed: viewers give their volumes, and integrals over them, a minus. The
/// values stay in the HDF5 file, which is named relative to the XDMF file.
std::string xdmf_text(const std::string& results_path);

/// "results.xdmf" for "results.h5".
std::string xdmf_path(const std::string& results_path);

/// Writes it as xdmf_path() and returns that name. Where no run has fields, writes nothing
/// and returns "". The results must be complete (ResultsWriter::finish()).
std::string write_xdmf(const std::string& results_path);

}  // namespace rankine
