#include "compile.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <map>
#include <vector>

#include "../cpu/core.h"

namespace graft {
namespace cuda {
namespace {

std::string sources, cache, target;

bool readFile(const std::string& path, std::string& out) {
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (!file) return false;
  out.clear();
  char part[1 << 16];
  for (size_t n; (n = std::fread(part, 1, sizeof part, file)) > 0;) out.append(part, n);
  const bool whole = !std::ferror(file);
  std::fclose(file);
  return whole;
}

/** Whole or not at all; a cache that cannot be written is none. */
void writeFile(const std::string& path, const std::string& text) {
  const std::string temporary = path + "." + std::to_string(getpid());
  std::FILE* file = std::fopen(temporary.c_str(), "wb");
  if (!file) return;
  const bool whole = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  if (std::fclose(file) != 0 || !whole || std::rename(temporary.c_str(), path.c_str()) != 0) std::remove(temporary.c_str());
}

void makeFolders(const std::string& path) {
  for (size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) mkdir(path.substr(0, at).c_str(), 0755);
  mkdir(path.c_str(), 0755);
}

struct Source {
  std::string text;
  std::map<std::string, std::string> headers;  // by the name they are included by
};

/** Adds what `text` includes by name in quotes, and what that includes. */
void addHeaders(const std::string& text, std::map<std::string, std::string>& headers) {
  static const std::string start = "#include \"";
  for (size_t at = text.find(start); at != std::string::npos; at = text.find(start, at + 1)) {
    const size_t begin = at + start.size();
    const std::string name = text.substr(begin, text.find('"', begin) - begin);
    if (headers.count(name)) continue;
    if (!readFile(sources + "/" + name, headers[name])) fail("cuda: %s/%s cannot be read", sources.c_str(), name.c_str());
    addHeaders(std::string(headers[name]), headers);
  }
}

Source read(const std::string& file) {
  Source s;
  if (!readFile(sources + "/" + file + ".cu", s.text)) fail("cuda: %s/%s.cu cannot be read", sources.c_str(), file.c_str());
  addHeaders(s.text, s.headers);
  return s;
}

/** 128 bits of two FNV-1a sums, in hexadecimal. */
std::string digest(const std::string& text) {
  uint64_t a = 0xcbf29ce484222325u, b = 0x84222325cbf29ce4u;
  for (const char c : text) {
    a = (a ^ uint8_t(c)) * 0x100000001b3u;
    b = (b ^ uint8_t(c) ^ 0x5a) * 0x10000000233u;
  }
  char out[33];
  std::snprintf(out, sizeof out, "%016llx%016llx", static_cast<unsigned long long>(a), static_cast<unsigned long long>(b));
  return out;
}

std::string compile(const std::string& file, const Source& source, const std::string& architecture) {
  const Compiler& c = compiler();
  std::vector<const char*> names, texts;
  for (const auto& header : source.headers) names.push_back(header.first.c_str()), texts.push_back(header.second.c_str());
  Handle program = nullptr;
  const std::string name = file + ".cu", to = "--gpu-architecture=" + architecture;
  if (c.nvrtcCreateProgram(&program, source.text.c_str(), name.c_str(), int(names.size()), texts.data(), names.data()) != 0) fail("cuda: NVRTC takes no program");
  const char* options[] = {to.c_str(), "--std=c++17", "--device-as-default-execution-space"};
  if (c.nvrtcCompileProgram(program, 3, options) != 0) {
    size_t bytes = 0;
    c.nvrtcGetProgramLogSize(program, &bytes);
    std::string log(bytes, 0);
    c.nvrtcGetProgramLog(program, &log[0]);
    c.nvrtcDestroyProgram(&program);
    const std::string line = log.substr(0, log.find('\n'));
    fail("cuda: NVRTC does not compile %s for %s: %s", name.c_str(), architecture.c_str(), line.c_str());
  }
  size_t bytes = 0;
  c.nvrtcGetCUBINSize(program, &bytes);
  std::string out(bytes, 0);
  c.nvrtcGetCUBIN(program, &out[0]);
  c.nvrtcDestroyProgram(&program);
  return out;
}

/** The file in the cache for this source, target and compiler. */
std::string cachePath(const std::string& file, const Source& source) {
  int major = 0, minor = 0;
  compiler().nvrtcVersion(&major, &minor);
  std::string all = target + '\n' + std::to_string(major) + '.' + std::to_string(minor) + '\n' + source.text;
  for (const auto& header : source.headers) all += header.second;
  return cache + "/" + file + "-" + target + "-" + digest(all) + ".cubin";
}

Handle load(const char* file) {
  const Source source = read(file);
  const std::string path = cache.empty() ? "" : cachePath(file, source);
  std::string image;
  Handle module = nullptr;
  // What does not load was cut short, or is of another driver's time.
  if (!cache.empty() && readFile(path, image) && !image.empty() && driver().cuModuleLoadData(&module, image.c_str()) == 0) return module;
  image = compile(file, source, target);
  if (!cache.empty()) {
    makeFolders(cache);
    writeFile(path, image);
  }
  check(driver().cuModuleLoadData(&module, image.c_str()), file);
  return module;
}

}  // namespace

void setCompileTarget(const std::string& folder, const std::string& kept, int major, int minor) {
  sources = folder;
  cache = kept;
  target = "sm_" + std::to_string(major * 10 + minor);
}

std::string compileFor(const std::string& folder, const std::string& file, const std::string& architecture) {
  sources = folder;
  return compile(file, read(file), architecture);
}

Handle compiledFunction(const char* file, const char* entry) {
  static std::map<std::string, Handle> modules;
  Handle& module = modules[file];
  if (!module) module = load(file);
  Handle function = nullptr;
  check(driver().cuModuleGetFunction(&function, module, (std::string("kernel_") + entry).c_str()), entry);
  return function;
}

}  // namespace cuda
}  // namespace graft
