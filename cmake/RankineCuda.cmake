# nvcc as CMake's language CUDA, for the sources that rankine_compile_device_code() hands to it.
include(CheckLanguage)
set(CMAKE_CUDA_HOST_COMPILER "${CMAKE_CXX_COMPILER}" CACHE FILEPATH "The compiler that nvcc leaves the host's code to")
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  # CMake would not look again, whatever the next attempt brings.
  unset(CMAKE_CUDA_COMPILER CACHE)
  unset(Kokkos_DIR CACHE)
  message(FATAL_ERROR "Kokkos ${Kokkos_VERSION} (${Kokkos_DIR}) was built for CUDA, but there is no nvcc that works with "
    "${CMAKE_CXX_COMPILER}. Load the module of the CUDA toolkit, put nvcc on PATH or set CUDACXX to it; or set Kokkos_ROOT "
    "to a Kokkos without CUDA.")
endif()
# Before any target is made, because a target takes the architectures when it is made.
set(CMAKE_CUDA_ARCHITECTURES ${Kokkos_CUDA_ARCHITECTURES})
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)

# What nvcc is told. It leaves the host's part to the C++ compiler, which shall generate the code that it does elsewhere; its
# warnings are about nvcc's output and say nothing that other builds do not. CMake 3.25 gives nvcc 13 no -std of its own.
# 177: declared but never referenced, as is what only the host's branch of a source needs.
string(JOIN "," rankine_host_options ${rankine_code_generation})
target_compile_options(rankine_compile_options INTERFACE
  "$<$<COMPILE_LANG_AND_ID:CUDA,NVIDIA>:-std=c++20;-Xcompiler=${rankine_host_options};-Werror=cross-execution-space-call;-diag-suppress=177>"
  "$<$<AND:$<BOOL:${RANKINE_WERROR}>,$<COMPILE_LANG_AND_ID:CUDA,NVIDIA>>:-Werror=all-warnings>")

# rankine_includes_kokkos(result file): whether the source or header does, itself or by headers of this repository.
function(rankine_includes_kokkos result file)
  get_property(known GLOBAL PROPERTY "rankine_includes_kokkos:${file}")
  if("${known}" STREQUAL "")
    set(known FALSE)
    # For headers that include each other: what is being looked at includes nothing of its own account.
    set_property(GLOBAL PROPERTY "rankine_includes_kokkos:${file}" FALSE)
    file(STRINGS "${file}" includes REGEX "^ *# *include *[<\"]")
    foreach(include IN LISTS includes)
      string(REGEX REPLACE ".*include *[<\"]([^>\"]*).*" "\\1" header "${include}")
      if(header MATCHES "^Kokkos_")
        set(known TRUE)
      elseif(EXISTS "${PROJECT_SOURCE_DIR}/${header}")
        rankine_includes_kokkos(by_header "${PROJECT_SOURCE_DIR}/${header}")
        if(by_header)
          set(known TRUE)
        endif()
      endif()
    endforeach()
    set_property(GLOBAL PROPERTY "rankine_includes_kokkos:${file}" ${known})
    set_property(DIRECTORY "${PROJECT_SOURCE_DIR}" APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${file}")
  endif()
  set(${result} ${known} PARENT_SCOPE)
endfunction()
