# RANKINE_DEVICE_LANGUAGE: the language, CUDA (nvcc) or HIP (clang), of the sources that rankine_compile_device_code() hands on.
include(CheckLanguage)
if("CUDA" IN_LIST Kokkos_DEVICES)
  set(RANKINE_DEVICE_LANGUAGE CUDA)
  set(CMAKE_CUDA_HOST_COMPILER "${CMAKE_CXX_COMPILER}" CACHE FILEPATH "The compiler that nvcc leaves the host's code to")
  set(fault "no nvcc that works with ${CMAKE_CXX_COMPILER}. Load the module of the CUDA toolkit, put nvcc on PATH or set CUDACXX to it")
else()
  set(RANKINE_DEVICE_LANGUAGE HIP)
  set(fault "no compiler for HIP. Load the module of ROCm, put its clang++ on PATH or set HIPCXX to it")
endif()
check_language(${RANKINE_DEVICE_LANGUAGE})
if(NOT CMAKE_${RANKINE_DEVICE_LANGUAGE}_COMPILER)
  # CMake would not look again, whatever the next attempt brings.
  unset(CMAKE_${RANKINE_DEVICE_LANGUAGE}_COMPILER CACHE)
  unset(Kokkos_DIR CACHE)
  message(FATAL_ERROR "Kokkos ${Kokkos_VERSION} (${Kokkos_DIR}) was built for ${RANKINE_DEVICE_LANGUAGE}, but there is ${fault}; "
    "or set Kokkos_ROOT to a Kokkos without ${RANKINE_DEVICE_LANGUAGE}.")
endif()
# Before any target is made, because a target takes the architectures when it is made.
set(CMAKE_${RANKINE_DEVICE_LANGUAGE}_ARCHITECTURES ${Kokkos_${RANKINE_DEVICE_LANGUAGE}_ARCHITECTURES})
enable_language(${RANKINE_DEVICE_LANGUAGE})

if(RANKINE_DEVICE_LANGUAGE STREQUAL "CUDA")
  find_package(CUDAToolkit REQUIRED)
  # Whoever links the installed library has a linker that knows nothing of CUDA.
  set(rankine_device_runtime CUDA::cudart_static)
  # What nvcc is told. It leaves the host's part to the C++ compiler, which shall generate the code that it does elsewhere; its
  # warnings are about nvcc's output and say nothing that other builds do not. CMake 3.25 gives nvcc 13 no -std of its own.
  # 177: declared but never referenced, as is what only the host's branch of a source needs.
  string(JOIN "," rankine_host_options ${rankine_code_generation})
  target_compile_options(rankine_compile_options INTERFACE
    "$<$<COMPILE_LANG_AND_ID:CUDA,NVIDIA>:-std=c++20;-Xcompiler=${rankine_host_options};-Werror=cross-execution-space-call;-diag-suppress=177>"
    "$<$<AND:$<BOOL:${RANKINE_WERROR}>,$<COMPILE_LANG_AND_ID:CUDA,NVIDIA>>:-Werror=all-warnings>")
else()
  find_package(hip REQUIRED CONFIG)
  set(rankine_device_runtime hip::host)
  target_compile_options(rankine_compile_options INTERFACE "$<$<COMPILE_LANGUAGE:HIP>:-std=c++20;${rankine_code_generation}>")
endif()

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
