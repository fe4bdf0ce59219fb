# How every target of the house is compiled, and the functions that declare one.
add_library(rankine_compile_options INTERFACE)
add_library(rankine::compile_options ALIAS rankine_compile_options)
# The same for any width of vectors: tests compile the kernels for others than the build's.
add_library(rankine_options_of_any_width INTERFACE)
target_link_libraries(rankine_compile_options INTERFACE rankine_options_of_any_width)
target_compile_features(rankine_options_of_any_width INTERFACE cxx_std_20)
# Adding FMAs is left to the compiler; reassociating sums is not, because results must not depend on the loop shape.
set(rankine_code_generation -fno-math-errno -fno-trapping-math)
if(RANKINE_NATIVE)
  list(APPEND rankine_code_generation -march=native)
endif()
target_compile_options(rankine_options_of_any_width INTERFACE
  "$<$<COMPILE_LANG_AND_ID:CXX,GNU,Clang>:-Wall;-Wextra;-Wno-volatile;-Wno-missing-field-initializers;${rankine_code_generation}>"
  # GCC 12 sees overlapping copies in "literal" + std::string (GCC bug 105651).
  $<$<AND:$<COMPILE_LANG_AND_ID:CXX,GNU>,$<VERSION_LESS:$<CXX_COMPILER_VERSION>,13>>:-Wno-restrict>
  $<$<AND:$<BOOL:${RANKINE_WERROR}>,$<COMPILE_LANG_AND_ID:CXX,GNU,Clang>>:-Werror>)

# rankine_vector_bytes: RANKINE_VECTOR_BYTES, with auto resolved. Results do not depend on it.
include(CheckCXXSourceCompiles)
include(CheckCXXCompilerFlag)
if(NOT RANKINE_VECTOR_BYTES MATCHES "^(auto|16|32|64)$")
  message(FATAL_ERROR "RANKINE_VECTOR_BYTES is '${RANKINE_VECTOR_BYTES}'; it can be auto, 16, 32 or 64.")
endif()
if(RANKINE_NATIVE)
  set(CMAKE_REQUIRED_FLAGS "-march=native")
endif()
check_cxx_source_compiles("#ifndef __AVX512F__\n#error\n#endif\nint main() {}" RANKINE_HAS_AVX512_NATIVE_${RANKINE_NATIVE})
check_cxx_source_compiles("#ifndef __AVX__\n#error\n#endif\nint main() {}" RANKINE_HAS_AVX_NATIVE_${RANKINE_NATIVE})
unset(CMAKE_REQUIRED_FLAGS)
set(rankine_widest_vector 16)
if(RANKINE_HAS_AVX512_NATIVE_${RANKINE_NATIVE})
  set(rankine_widest_vector 64)
elseif(RANKINE_HAS_AVX_NATIVE_${RANKINE_NATIVE})
  set(rankine_widest_vector 32)
endif()
set(rankine_vector_bytes "${RANKINE_VECTOR_BYTES}")
if(rankine_vector_bytes STREQUAL "auto")
  set(rankine_vector_bytes ${rankine_widest_vector})
elseif(rankine_vector_bytes GREATER rankine_widest_vector)
  message(FATAL_ERROR "RANKINE_VECTOR_BYTES is ${rankine_vector_bytes}, but the processor compiled for has vectors of "
    "${rankine_widest_vector} bytes. Leave it at auto, or name a wider processor: RANKINE_NATIVE=ON or -march in CMAKE_CXX_FLAGS.")
endif()
# rankine_set_vectors(target INTERFACE|PRIVATE bytes): what kernels/simd.hpp takes, and the compiler for plain loops.
function(rankine_set_vectors target scope bytes)
  target_compile_definitions(${target} ${scope} RANKINE_VECTOR_BYTES=${bytes})
  math(EXPR bits "8 * ${bytes}")
  check_cxx_compiler_flag(-mprefer-vector-width=${bits} RANKINE_CAN_PREFER_${bits}_BITS)
  if(RANKINE_CAN_PREFER_${bits}_BITS)
    target_compile_options(${target} ${scope} $<$<COMPILE_LANG_AND_ID:CXX,GNU,Clang>:-mprefer-vector-width=${bits}>)
  endif()
endfunction()
rankine_set_vectors(rankine_compile_options INTERFACE ${rankine_vector_bytes})

if(RANKINE_SANITIZE)
  # A finding ends the program, or no test would notice it; the standard library checks the bounds of spans and vectors.
  target_compile_options(rankine_options_of_any_width INTERFACE "$<$<COMPILE_LANGUAGE:C,CXX>:\
-fsanitize=${RANKINE_SANITIZE};-fno-sanitize-recover=all;-fno-omit-frame-pointer;-D_GLIBCXX_ASSERTIONS>")
  target_link_options(rankine_options_of_any_width INTERFACE -fsanitize=${RANKINE_SANITIZE})
endif()
if(RANKINE_FUZZ)
  target_compile_options(rankine_options_of_any_width INTERFACE -fsanitize=fuzzer-no-link)
endif()

# rankine_add_library(name [EXCLUDE regex]): the library rankine_<name> (alias rankine::<name>) of all .cpp files below
# this folder, main.cpp and the paths that match EXCLUDE excepted. Headers are included by their path from the top:
# "kernels/blas.hpp".
function(rankine_add_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "EXCLUDE" "")
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*.cpp")
  list(FILTER sources EXCLUDE REGEX "/main\\.cpp$")
  if(arg_EXCLUDE)
    list(FILTER sources EXCLUDE REGEX "${arg_EXCLUDE}")
  endif()
  add_library(rankine_${name} STATIC ${sources})
  add_library(rankine::${name} ALIAS rankine_${name})
  set_target_properties(rankine_${name} PROPERTIES EXPORT_NAME ${name} POSITION_INDEPENDENT_CODE ON)
  target_include_directories(rankine_${name} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/rankine>)
  target_compile_features(rankine_${name} PUBLIC cxx_std_20)
  target_link_libraries(rankine_${name} PRIVATE $<BUILD_INTERFACE:rankine::compile_options>)
endfunction()

# rankine_compile_device_code(target): with a Kokkos for CUDA or HIP, its compiler compiles those sources of a target of this
# folder that include Kokkos, themselves or by headers of this repository. The C++ compiler compiles all others.
function(rankine_compile_device_code target)
  if(NOT RANKINE_DEVICE_LANGUAGE)
    return()
  endif()
  get_target_property(sources ${target} SOURCES)
  foreach(source IN LISTS sources)
    get_filename_component(file "${source}" ABSOLUTE)
    rankine_includes_kokkos(for_device "${file}")
    if(for_device)
      set_source_files_properties("${source}" PROPERTIES LANGUAGE ${RANKINE_DEVICE_LANGUAGE})
    endif()
  endforeach()
endfunction()
