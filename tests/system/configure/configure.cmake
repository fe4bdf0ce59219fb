# cmake -DSOURCE=... -DWORK=... -P configure.cmake: see CMakeLists.txt beside this file.
# configure(kokkos options... SAYS text...): configures kernels/ with a Kokkos that says of itself what `kokkos` sets. With
# SAYS this must fail, and the message must have each text; without, it must work. All is done in one build folder, as by
# somebody who follows the advice.
file(REMOVE_RECURSE "${WORK}")
set(attempt 0)
function(configure kokkos)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SAYS")
  math(EXPR attempt "${attempt} + 1")
  set(attempt ${attempt} PARENT_SCOPE)
  set(root "${WORK}/kokkos_${attempt}")
  file(WRITE "${root}/KokkosConfig.cmake" "add_library(Kokkos::kokkos INTERFACE IMPORTED)\n${kokkos}\n")
  file(WRITE "${root}/KokkosConfigVersion.cmake"
    "set(PACKAGE_VERSION 4.7.1)\nset(PACKAGE_VERSION_COMPATIBLE TRUE)\n")
  execute_process(
    COMMAND "${CMAKE_COMMAND}" -E env "CUDACXX=${WORK}/no_nvcc" "HIPCXX=${WORK}/no_clang" "Kokkos_ROOT=${root}"
      "${CMAKE_COMMAND}" -S "${SOURCE}" -B "${WORK}/build" -G "${GENERATOR}" "-DCMAKE_C_COMPILER=${C}" "-DCMAKE_CXX_COMPILER=${CXX}"
      -DRANKINE_KERNELS_ONLY=ON -DRANKINE_TESTS=OFF ${arg_UNPARSED_ARGUMENTS}
    RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  string(REGEX REPLACE "[ \n]+" " " output "${output}")  # CMake breaks lines as it likes
  if(arg_SAYS)
    if(result EQUAL 0)
      message(FATAL_ERROR "a Kokkos with\n${kokkos}\nwas taken for ${arg_UNPARSED_ARGUMENTS}:\n${output}")
    endif()
    foreach(text IN LISTS arg_SAYS)
      string(FIND "${output}" "${text}" place)
      if(place EQUAL -1)
        message(FATAL_ERROR "no '${text}' in:\n${output}")
      endif()
    endforeach()
  elseif(NOT result EQUAL 0)
    message(FATAL_ERROR "a Kokkos with\n${kokkos}\nwas not taken for ${arg_UNPARSED_ARGUMENTS}:\n${output}")
  endif()
endfunction()

configure("set(Kokkos_DEVICES SERIAL)" -DRANKINE_KOKKOS_DEVICES=OPENMP
  SAYS "Kokkos 4.7.1 (${WORK}/kokkos_1) has the devices SERIAL, and this build needs OPENMP" "-DKokkos_ENABLE_OPENMP=ON"
    "kokkos +openmp" "set Kokkos_ROOT")
configure("set(Kokkos_DEVICES OPENMP SERIAL)" -DRANKINE_KOKKOS_DEVICES=CUDA
  SAYS "has the devices OPENMP, SERIAL, and this build needs CUDA" "-DKokkos_ENABLE_CUDA=ON")
configure("set(Kokkos_DEVICES CUDA SERIAL)\nset(Kokkos_OPTIONS CUDA_LAMBDA)\nset(Kokkos_CUDA_ARCHITECTURES 90)"
  SAYS "compiled through nvcc_wrapper" "-DKokkos_ENABLE_COMPILE_AS_CMAKE_LANGUAGE=ON")
configure("set(Kokkos_DEVICES SYCL SERIAL)" SAYS "was built for SYCL, and Rankine's kernels run on the host, on CUDA and on HIP only"
  "Set Kokkos_ROOT to a Kokkos without SYCL")
foreach(again RANGE 1)
  configure("set(Kokkos_DEVICES CUDA SERIAL)\nset(Kokkos_OPTIONS COMPILE_AS_CMAKE_LANGUAGE)\nset(Kokkos_CUDA_ARCHITECTURES 90)"
    -DRANKINE_KOKKOS_DEVICES=CUDA SAYS "Looking for a CUDA compiler - NOTFOUND" "there is no nvcc that works with" "set CUDACXX")
  configure("set(Kokkos_DEVICES HIP SERIAL)\nset(Kokkos_HIP_ARCHITECTURES gfx90a)"
    -DRANKINE_KOKKOS_DEVICES=HIP SAYS "Looking for a HIP compiler - NOTFOUND" "there is no compiler for HIP" "set HIPCXX")
endforeach()
set(WORK "${WORK}/other")
configure("set(Kokkos_DEVICES SERIAL)" -DRANKINE_KOKKOS_DEVICES=OPENMP SAYS "this build needs OPENMP")
configure("set(Kokkos_DEVICES OPENMP SERIAL)" -DRANKINE_KOKKOS_DEVICES=OpenMP)
