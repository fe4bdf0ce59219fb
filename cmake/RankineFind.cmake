# One macro a dependency, used by the build and by the installed RankineConfig.cmake alike.
# Macros, not functions: find_package() sets variables that the caller's scope must keep.

# find_package() for Rankine's own build, where all is required; inside find_package(Rankine), a dependency that is not
# there makes Rankine "not found" with its reason, and the caller decides.
macro(rankine_find_package)
  if(CMAKE_FIND_PACKAGE_NAME STREQUAL "Rankine")
    find_dependency(${ARGN})
  else()
    find_package(${ARGN} REQUIRED)
  endif()
endmacro()

# Everything that this configuration stands on. RANKINE_KERNELS_ONLY leaves out what only solvers/ and src/ need.
macro(rankine_find_all)
  rankine_find_kokkos()
  rankine_find_blas()
  rankine_find_fft()
  rankine_find_random123()
  if(NOT RANKINE_KERNELS_ONLY)
    rankine_find_mpi()
    rankine_find_petsc()
    rankine_find_hdf5()
    rankine_find_yaml()
    rankine_find_small_libraries()
  endif()
endmacro()

# rankine_kokkos_fault(result): what is wrong with the Kokkos that was found, with the remedy; empty if nothing is.
# Kokkos's own kokkos_check() names no remedy.
function(rankine_kokkos_fault result)
  set(fault "")
  set(there "${Kokkos_DEVICES}")
  list(TRANSFORM there TOUPPER)
  string(JOIN ", " names ${there})
  foreach(device IN LISTS RANKINE_KOKKOS_DEVICES)
    string(TOUPPER "${device}" device)
    if(NOT device IN_LIST there)
      string(TOLOWER "${device}" variant)
      string(CONCAT fault "${fault}" "Kokkos ${Kokkos_VERSION} (${Kokkos_DIR}) has the devices ${names}, and this build "
        "needs ${device} (RANKINE_KOKKOS_DEVICES). Build one with -DKokkos_ENABLE_${device}=ON (with Spack: kokkos "
        "+${variant}) or load its module, and set Kokkos_ROOT to where it is installed; or choose the preset `release`, "
        "which takes what Kokkos has.\n")
    endif()
  endforeach()
  # On a device that launches do not know, the host's loops would run on memory that the host does not reach.
  foreach(device SYCL OPENMPTARGET OPENACC)
    if(device IN_LIST there)
      string(CONCAT fault "${fault}" "Kokkos ${Kokkos_VERSION} (${Kokkos_DIR}) was built for ${device}, and Rankine's kernels run "
        "on the host, on CUDA and on HIP only (kernels/launch.hpp). Set Kokkos_ROOT to a Kokkos without ${device}.\n")
    endif()
  endforeach()
  # Only as a language of CMake's can nvcc be kept to kernels/; and where the architectures stand differs before 4.2.
  if("CUDA" IN_LIST there AND NOT ("COMPILE_AS_CMAKE_LANGUAGE" IN_LIST Kokkos_OPTIONS AND Kokkos_CUDA_ARCHITECTURES))
    string(CONCAT fault "${fault}" "Kokkos ${Kokkos_VERSION} (${Kokkos_DIR}) was built for CUDA, but to be compiled through "
      "nvcc_wrapper. Rankine compiles with CMake's language CUDA. Build Kokkos 4.2 or newer with "
      "-DKokkos_ENABLE_COMPILE_AS_CMAKE_LANGUAGE=ON (with Spack: kokkos +cuda +cmake_lang), and set Kokkos_ROOT to where "
      "it is installed.\n")
  endif()
  set(${result} "${fault}" PARENT_SCOPE)
endfunction()

# Kokkos::kokkos. Debian 12's config (Trilinos 13.2) names an include folder that does not exist; mend it.
macro(rankine_find_kokkos)
  if(EXISTS "/usr/lib/include")
  else()
    # CMake refuses imported targets whose include folders are missing, so look before anything links to it.
    set(_rankine_mend_kokkos TRUE)
  endif()
  rankine_find_package(Kokkos HINTS ${RANKINE_KOKKOS_HINT})
  rankine_kokkos_fault(_rankine_fault)
  if(_rankine_fault)
    if(NOT CMAKE_FIND_PACKAGE_NAME STREQUAL "Rankine")
      unset(Kokkos_DIR CACHE)  # CMake would take it again, whatever Kokkos_ROOT says the next time
      message(FATAL_ERROR "${_rankine_fault}")
    endif()
    set(Rankine_FOUND FALSE)
    set(Rankine_NOT_FOUND_MESSAGE "${_rankine_fault}")
    return()
  endif()
  get_target_property(_rankine_kokkos_libraries Kokkos::kokkos INTERFACE_LINK_LIBRARIES)
  foreach(_rankine_target Kokkos::kokkos ${_rankine_kokkos_libraries})
    if(TARGET ${_rankine_target})
      get_target_property(_rankine_includes ${_rankine_target} INTERFACE_INCLUDE_DIRECTORIES)
      if(_rankine_mend_kokkos AND "${_rankine_includes}" MATCHES "/usr/lib/include")
        find_path(RANKINE_KOKKOS_INCLUDE_DIR Kokkos_Core.hpp PATH_SUFFIXES trilinos REQUIRED)
        set_target_properties(${_rankine_target} PROPERTIES
          INTERFACE_INCLUDE_DIRECTORIES "${RANKINE_KOKKOS_INCLUDE_DIR}")
      endif()
    endif()
  endforeach()
endmacro()

# rankine::blas: CBLAS and LAPACK, OpenBLAS preferred.
macro(rankine_find_blas)
  if(NOT TARGET rankine::blas)
    find_library(RANKINE_OPENBLAS_LIBRARY NAMES openblas)
    find_path(RANKINE_CBLAS_INCLUDE_DIR cblas.h PATH_SUFFIXES openblas x86_64-linux-gnu openblas-pthread)
    if(RANKINE_OPENBLAS_LIBRARY AND RANKINE_CBLAS_INCLUDE_DIR)
      add_library(rankine::blas INTERFACE IMPORTED)
      set_target_properties(rankine::blas PROPERTIES
        INTERFACE_LINK_LIBRARIES "${RANKINE_OPENBLAS_LIBRARY}"
        INTERFACE_INCLUDE_DIRECTORIES "${RANKINE_CBLAS_INCLUDE_DIR}")
    else()
      rankine_find_package(BLAS)
      rankine_find_package(LAPACK)
      add_library(rankine::blas INTERFACE IMPORTED)
      set_target_properties(rankine::blas PROPERTIES INTERFACE_LINK_LIBRARIES "LAPACK::LAPACK;BLAS::BLAS")
    endif()
  endif()
endmacro()

# rankine::fft and RANKINE_FFT_CHOSEN (fftw, cufft or portable), as RANKINE_FFT asks. auto: cuFFT where Kokkos computes on
# CUDA, else FFTW where there is one, else the own transform.
macro(rankine_find_fft)
  if(NOT "${RANKINE_FFT}" MATCHES "^(auto|fftw|cufft|portable)$")
    message(FATAL_ERROR "RANKINE_FFT=${RANKINE_FFT} is no library of Fourier transforms: give auto, fftw, cufft or portable.")
  endif()
  set(RANKINE_FFT_CHOSEN "${RANKINE_FFT}")
  if(RANKINE_FFT STREQUAL "auto" AND "CUDA" IN_LIST Kokkos_DEVICES)
    set(RANKINE_FFT_CHOSEN cufft)
  endif()
  if(RANKINE_FFT_CHOSEN STREQUAL "cufft")
    if(NOT "CUDA" IN_LIST Kokkos_DEVICES)
      message(FATAL_ERROR "RANKINE_FFT=cufft needs a Kokkos built with CUDA, and this one has: ${Kokkos_DEVICES}. Set "
        "Kokkos_ROOT to one, or give RANKINE_FFT=auto.")
    endif()
    rankine_find_package(CUDAToolkit)
  elseif(NOT RANKINE_FFT_CHOSEN STREQUAL "portable")
    # One library a precision. By hand, because few distributions ship FFTW's own files for CMake.
    find_path(RANKINE_FFTW_INCLUDE_DIR fftw3.h HINTS ENV FFTW_ROOT ENV FFTW_DIR PATH_SUFFIXES include)
    foreach(_rankine_fftw fftw3 fftw3f)
      find_library(RANKINE_${_rankine_fftw}_LIBRARY ${_rankine_fftw} HINTS ENV FFTW_ROOT ENV FFTW_DIR PATH_SUFFIXES lib)
    endforeach()
    if(RANKINE_FFTW_INCLUDE_DIR AND RANKINE_fftw3_LIBRARY AND RANKINE_fftw3f_LIBRARY)
      set(RANKINE_FFT_CHOSEN fftw)
    elseif(RANKINE_FFT STREQUAL "fftw")
      message(FATAL_ERROR "FFTW was not found with its header and both its libraries, fftw3 and fftw3f. Install it "
        "(libfftw3-dev on Debian, fftw with Spack), set FFTW_ROOT, or give RANKINE_FFT=portable for an own, slower transform.")
    else()
      set(RANKINE_FFT_CHOSEN portable)
      message(STATUS "FFTW was not found (libfftw3-dev on Debian, fftw with Spack): Fourier transforms are Rankine's own and slower")
    endif()
  endif()
  if(NOT TARGET rankine::fft)
    add_library(rankine::fft INTERFACE IMPORTED)
    if(RANKINE_FFT_CHOSEN STREQUAL "fftw")
      set_target_properties(rankine::fft PROPERTIES
        INTERFACE_LINK_LIBRARIES "${RANKINE_fftw3_LIBRARY};${RANKINE_fftw3f_LIBRARY}"
        INTERFACE_INCLUDE_DIRECTORIES "${RANKINE_FFTW_INCLUDE_DIR}")
    elseif(RANKINE_FFT_CHOSEN STREQUAL "cufft")
      set_target_properties(rankine::fft PROPERTIES INTERFACE_LINK_LIBRARIES CUDA::cufft)
    endif()
  endif()
endmacro()

macro(rankine_find_random123)
  find_path(RANKINE_RANDOM123_INCLUDE_DIR Random123/philox.h REQUIRED)
  if(NOT TARGET rankine::random123)
    add_library(rankine::random123 INTERFACE IMPORTED)
    set_target_properties(rankine::random123 PROPERTIES
      INTERFACE_INCLUDE_DIRECTORIES "${RANKINE_RANDOM123_INCLUDE_DIR}")
  endif()
endmacro()

macro(rankine_find_mpi)
  rankine_find_package(MPI 3.0 COMPONENTS C CXX)
endmacro()

# rankine::petsc: pkg-config knows it under several names.
macro(rankine_find_petsc)
  rankine_find_package(PkgConfig)
  if(NOT TARGET rankine::petsc)
    pkg_search_module(RANKINE_PETSC REQUIRED IMPORTED_TARGET GLOBAL petsc PETSc petsc-real)
    add_library(rankine::petsc INTERFACE IMPORTED)
    set_target_properties(rankine::petsc PROPERTIES INTERFACE_LINK_LIBRARIES "PkgConfig::RANKINE_PETSC;MPI::MPI_CXX")
  endif()
endmacro()

# rankine::hdf5: parallel HDF5, C interface, with its high-level library (dimension scales).
macro(rankine_find_hdf5)
  set(HDF5_PREFER_PARALLEL TRUE)
  rankine_find_package(HDF5 1.10 COMPONENTS C HL)
  if(NOT HDF5_IS_PARALLEL)
    message(FATAL_ERROR "HDF5 ${HDF5_VERSION} was found, but without MPI. Rankine needs a parallel HDF5: "
      "libhdf5-openmpi-dev on Debian, hdf5+mpi with Spack.")
  endif()
  if(NOT TARGET rankine::hdf5)
    add_library(rankine::hdf5 INTERFACE IMPORTED)
    set_target_properties(rankine::hdf5 PROPERTIES
      INTERFACE_LINK_LIBRARIES "${HDF5_C_HL_LIBRARIES};${HDF5_C_LIBRARIES};MPI::MPI_C"
      INTERFACE_INCLUDE_DIRECTORIES "${HDF5_C_INCLUDE_DIRS}"
      INTERFACE_COMPILE_DEFINITIONS "H5_USE_110_API")
  endif()
endmacro()

macro(rankine_find_yaml)
  rankine_find_package(yaml-cpp)
  if(NOT TARGET rankine::yaml)
    add_library(rankine::yaml INTERFACE IMPORTED)
    if(TARGET yaml-cpp::yaml-cpp)
      set_target_properties(rankine::yaml PROPERTIES INTERFACE_LINK_LIBRARIES yaml-cpp::yaml-cpp)
    else()
      set_target_properties(rankine::yaml PROPERTIES INTERFACE_LINK_LIBRARIES yaml-cpp)
    endif()
  endif()
endmacro()

# fmt, nlohmann_json, xxHash, zlib, CLI11, and the headers of Boost.Math.
macro(rankine_find_small_libraries)
  rankine_find_package(fmt)
  rankine_find_package(ZLIB)
  rankine_find_package(nlohmann_json)
  find_path(RANKINE_CLI11_INCLUDE_DIR CLI/CLI.hpp REQUIRED)
  if(NOT TARGET rankine::cli11)
    add_library(rankine::cli11 INTERFACE IMPORTED)
    set_target_properties(rankine::cli11 PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${RANKINE_CLI11_INCLUDE_DIR}")
  endif()
  find_path(RANKINE_BOOST_INCLUDE_DIR boost/math/distributions/students_t.hpp REQUIRED)
  if(NOT TARGET rankine::boost)
    add_library(rankine::boost INTERFACE IMPORTED)
    set_target_properties(rankine::boost PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${RANKINE_BOOST_INCLUDE_DIR}")
  endif()
  if(NOT TARGET rankine::xxhash)
    find_library(RANKINE_XXHASH_LIBRARY xxhash REQUIRED)
    find_path(RANKINE_XXHASH_INCLUDE_DIR xxhash.h REQUIRED)
    add_library(rankine::xxhash INTERFACE IMPORTED)
    set_target_properties(rankine::xxhash PROPERTIES
      INTERFACE_LINK_LIBRARIES "${RANKINE_XXHASH_LIBRARY}"
      INTERFACE_INCLUDE_DIRECTORIES "${RANKINE_XXHASH_INCLUDE_DIR}")
  endif()
endmacro()
