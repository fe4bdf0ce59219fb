// Internal to solvers/*.cpp: PETSc errors as C++ exceptions, handles as owning objects, C++ callbacks as C
// functions.
#pragma once

#include <exception>
#include <source_location>
#include <string>
#include <utility>

#include <petscsys.h>

#include "kernels/error.hpp"

namespace rankine::petsc {

/// What a failed PETSc call throws.
struct Error : NumericalError {
  using NumericalError::NumericalError;
};

/// Throws Error for a PETSc error code, with the place of the call and PETSc's own message.
void check(PetscErrorCode code, const char* call,
           std::source_location place = std::source_location::current());

/// Throws std::logic_error unless a PetscSession is alive; Debian's optimised PETSc would crash instead.
void require_session();

/// Owns a PETSc object: `Handle<Mat> a; RANKINE_PETSC(MatCreate(comm, a.out()));`.
template <class Object, PetscErrorCode (*destroy)(Object*)>
class Handle {
 public:
  Handle() = default;
  Handle(Handle&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Handle() {
    // A handle that outlives PETSc has nothing left to free.
    PetscBool finalised = PETSC_FALSE;
    if (object_ && PetscFinalized(&finalised) == 0 && !finalised) static_cast<void>(destroy(&object_));
  }
  operator Object() const { return object_; }
  Object* out() { return &object_; }

 private:
  Object object_ = nullptr;
};

/// Carries a C++ exception through PETSc's C code: a callback runs its body in run(), the caller checks the
/// PETSc call with check(), which rethrows what the body threw.
class CallbackGuard {
 public:
  template <class Body>
  PetscErrorCode run(Body&& body) noexcept {
    try {
      body();
      return static_cast<PetscErrorCode>(0);
    } catch (...) {
      thrown_ = std::current_exception();
      return static_cast<PetscErrorCode>(PETSC_ERR_USER);
    }
  }
  void check(PetscErrorCode code, const char* call,
             std::source_location place = std::source_location::current()) {
    if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
    petsc::check(code, call, place);
  }

 private:
  std::exception_ptr thrown_;
};

}  // namespace rankine::petsc

#define RANKINE_PETSC(call) ::rankine::petsc::check((call), #call)
