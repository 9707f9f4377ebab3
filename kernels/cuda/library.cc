// Where libcuda, NVRTC and cuBLASLt are: named by GRAFT_CUDA, where the loader looks (LD_LIBRARY_PATH, the system), under CUDA_HOME and
// CUDA_PATH, and where Python wheels put them: of an active environment, of every python3 on PATH, of the user and the system.
#include <dirent.h>
#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>

#include "../cpu/core.h"
#include "driver.h"
#include "library.h"
#include "plan.h"

namespace graft {
namespace cuda {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

std::vector<std::string> entries(const std::string& folder) {
  std::vector<std::string> out;
  if (DIR* d = opendir(folder.c_str())) {
    while (const dirent* e = readdir(d))
      if (e->d_name[0] != '.') out.push_back(e->d_name);
    closedir(d);
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::string folderOf(const std::string& path) { return path.substr(0, std::min(path.rfind('/'), path.size())); }

/** `lib` folders of the packages nvidia/ of every Python under a prefix. */
void addWheels(const std::string& prefix, std::vector<std::string>& out) {
  if (prefix.empty()) return;
  for (const std::string& python : entries(prefix + "/lib")) {
    if (python.compare(0, 6, "python") != 0) continue;
    for (const char* packages : {"site-packages", "dist-packages"}) {
      const std::string nvidia = prefix + "/lib/" + python + "/" + packages + "/nvidia";
      for (const std::string& part : entries(nvidia)) out.push_back(nvidia + "/" + part + "/lib");
    }
  }
}

/** The same of every python3 on PATH: of the environment it stands in, and of the one its links lead to. */
void addPythonsOnPath(std::vector<std::string>& out) {
  const std::string path = environment("PATH");
  for (size_t begin = 0, end; begin < path.size(); begin = end + 1) {
    end = std::min(path.find(':', begin), path.size());
    const std::string python = path.substr(begin, end - begin) + "/python3";
    char* real = realpath(python.c_str(), nullptr);
    if (!real) continue;
    const std::string resolved = real;
    std::free(real);
    for (const std::string& file : {python, resolved}) addWheels(folderOf(folderOf(file)), out);
  }
}

std::vector<std::string> folders() {
  std::vector<std::string> out;
  for (const char* name : {"CUDA_HOME", "CUDA_PATH"}) {
    const std::string home = environment(name);
    if (!home.empty()) out.push_back(home + "/lib64"), out.push_back(home + "/lib");
  }
  for (const char* name : {"VIRTUAL_ENV", "CONDA_PREFIX"}) {
    const std::string prefix = environment(name);
    if (!prefix.empty()) out.push_back(prefix + "/lib");
    addWheels(prefix, out);
  }
  addPythonsOnPath(out);
  out.insert(out.end(), {"/usr/local/cuda/lib64", "/usr/lib/wsl/lib", "/usr/local/nvidia/lib64"});
  const std::string home = environment("HOME");
  addWheels(home.empty() ? "" : home + "/.local", out);
  addWheels("/usr/local", out);
  addWheels("/usr", out);
  return out;
}

}  // namespace

void* openLibrary(const std::vector<std::string>& names) {
  const std::string chosen = environment("GRAFT_CUDA");
  std::vector<std::string> places;
  if (!chosen.empty()) places.push_back(chosen + "/");
  places.push_back("");  // as the loader finds it
  for (const std::string& folder : folders()) places.push_back(folder + "/");
  for (const std::string& place : places)
    for (const std::string& name : names)
      if (void* library = dlopen((place + name).c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
  return nullptr;
}

void* symbol(void* library, const char* name) { return dlsym(library, name); }

namespace {

template <class F>
void bind(void* library, const char* name, F& f) {
  f = reinterpret_cast<F>(symbol(library, name));
  if (!f) fail("cuda: the library that should have %s has it not: an older driver than CUDA 12's?", name);
}

void* libcuda() {
  static void* const library = openLibrary({"libcuda.so.1"});
  return library;
}

}  // namespace

const Driver& driver() {
  static const Driver loaded = [] {
    if (planning()) return countingDriver();
    if (!libcuda()) fail("cuda: libcuda.so.1 was not found: install NVIDIA's driver (nvidia-smi should list the card), or use --backend cpu");
    Driver d;
#define BIND(name, parameters) bind(libcuda(), #name, d.name);
    GRAFT_CUDA_DRIVER(BIND)
    return d;
  }();
  return loaded;
}

/** 12 where the driver is of CUDA 12's time, which loads nothing of CUDA 13's; else 13, also without a driver. */
static int generation() {
  int version = 0;
  return libcuda() && driver().cuDriverGetVersion(&version) == 0 && version < 13000 ? 12 : 13;
}

static void* openOfGeneration(const std::string& name) {
  return openLibrary(generation() == 12 ? std::vector<std::string>{name + ".12"} : std::vector<std::string>{name + ".13", name + ".12"});
}

const Compiler& compiler() {
  static const Compiler loaded = [] {
    if (planning()) return countingCompiler();
    void* library = openOfGeneration("libnvrtc.so");
    if (!library) fail("cuda: libnvrtc.so.%s was not found: install CUDA's NVRTC (a toolkit with CUDA_HOME set, or pip install nvidia-cuda-nvrtc-cu12)", generation() == 12 ? "12" : "13 or .12");
    Compiler c;
#undef BIND
#define BIND(name, parameters) bind(library, #name, c.name);
    GRAFT_CUDA_NVRTC(BIND)
    return c;
  }();
  return loaded;
}

const Blas* blas() {
  static const Blas* const loaded = []() -> const Blas* {
    if (planning()) return new Blas(countingBlas());
    void* library = environment("GRAFT_CUBLASLT") == "none" ? nullptr : openOfGeneration("libcublasLt.so");
    if (!library) return nullptr;
    auto* b = new Blas();
#undef BIND
#define BIND(name, parameters) bind(library, #name, b->name);
    GRAFT_CUDA_BLAS(BIND)
    return b;
  }();
  return loaded;
}

CheckArguments checkArguments() {
  static const auto f = planning() ? nullptr : reinterpret_cast<CheckArguments>(symbol(libcuda(), "graftCheckArguments"));
  return f;
}

void check(int status, const char* what) {
  if (status == 0) return;
  const char* text = nullptr;
  driver().cuGetErrorString(status, &text);
  fail("cuda: %s: %s", what, text ? text : "an unknown error");
}

}  // namespace cuda
}  // namespace graft
