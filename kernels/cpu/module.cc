// The only file that knows Node-API: arguments in, results and errors out.
#include <napi.h>

#include <cmath>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "core.h"

namespace graft {

static std::vector<std::pair<const char*, Export>>& exports() {
  static std::vector<std::pair<const char*, Export>> list;
  return list;
}

bool registerExport(const char* name, Export f) {
  exports().emplace_back(name, f);
  return true;
}

static const Napi::CallbackInfo& call(const void* info) { return *static_cast<const Napi::CallbackInfo*>(info); }

static const char* const kStorageNames[] = {"float32", "int32", "bool", "float16", "bfloat16"};

int Args::size() const { return int(call(info_).Length()); }

bool Args::none(int i) const {
  if (i >= size()) return true;
  const Napi::Value v = call(info_)[size_t(i)];
  return v.IsNull() || v.IsUndefined() || (v.IsNumber() && v.As<Napi::Number>().DoubleValue() < 0);
}

double Args::number(int i) const {
  if (i < size()) {
    const Napi::Value v = call(info_)[size_t(i)];
    if (v.IsNumber()) return v.As<Napi::Number>().DoubleValue();
    if (v.IsBoolean()) return v.As<Napi::Boolean>().Value();
  }
  fail("argument %d must be a number", i);
}

static constexpr double kExact = 9007199254740992.0;

int64_t Args::integer(int i) const {
  const double value = number(i);
  if (!(std::fabs(value) <= kExact) || value != std::trunc(value)) fail("argument %d is %g, not an integer", i, value);
  return int64_t(value);
}

int32_t Args::handle(int i) const {
  const int64_t value = integer(i);
  return value < 0 || value > INT32_MAX ? -1 : int32_t(value);
}

bool Args::flag(int i) const { return number(i) != 0; }

static Buffer& onHost(Buffer& b, bool write) {
  if (b.mirror) toHost(b, write);
  return b;
}

Buffer& Args::buffer(int i) const { return onHost(graft::buffer(handle(i)), true); }
const Buffer& Args::input(int i) const { return onHost(graft::buffer(handle(i)), false); }

const float* Args::f32(int i, Scratch& scratch, int64_t n) const {
  const Buffer& b = input(i);
  if (b.count != n) fail("argument %d holds %lld elements, not %lld", i, static_cast<long long>(b.count), static_cast<long long>(n));
  return graft::f32(b, scratch);
}

const int32_t* Args::i32(int i) const {
  const Buffer& b = input(i);
  if (b.storage != Storage::I32) fail("argument %d is %s, not int32", i, kStorageNames[int(b.storage)]);
  return static_cast<const int32_t*>(b.data);
}

const uint8_t* Args::boolean(int i) const {
  const Buffer& b = input(i);
  if (b.storage != Storage::BOOL) fail("argument %d is %s, not bool", i, kStorageNames[int(b.storage)]);
  return static_cast<const uint8_t*>(b.data);
}

Buffer& Args::writable(int i, Storage storage, int64_t n) const {
  Buffer& b = buffer(i);
  if (b.frozen()) fail("argument %d is read-only: a mapped weight", i);
  if (b.storage != storage) fail("argument %d is %s, not %s", i, kStorageNames[int(b.storage)], kStorageNames[int(storage)]);
  if (b.count != n) fail("argument %d holds %lld elements, not %lld", i, static_cast<long long>(b.count), static_cast<long long>(n));
  return b;
}

float* Args::outF32(int i, int64_t n) const { return static_cast<float*>(writable(i, Storage::F32, n).data); }
int32_t* Args::outI32(int i, int64_t n) const { return static_cast<int32_t*>(writable(i, Storage::I32, n).data); }
uint8_t* Args::outBool(int i, int64_t n) const { return static_cast<uint8_t*>(writable(i, Storage::BOOL, n).data); }

std::vector<int64_t> Args::ints(int i) const {
  if (i >= size()) fail("argument %d must be a list of integers", i);
  const Napi::Value v = call(info_)[size_t(i)];
  std::vector<int64_t> out;
  if (v.IsTypedArray() && v.As<Napi::TypedArray>().TypedArrayType() == napi_int32_array) {
    const auto a = v.As<Napi::Int32Array>();
    out.assign(a.Data(), a.Data() + a.ElementLength());
  } else if (v.IsArray()) {
    const auto a = v.As<Napi::Array>();
    out.resize(a.Length());
    for (uint32_t k = 0; k < a.Length(); k++) {
      const Napi::Value v = a.Get(k);
      const double value = v.IsNumber() ? v.As<Napi::Number>().DoubleValue() : v.IsBoolean() ? double(v.As<Napi::Boolean>().Value()) : NAN;
      if (!(std::fabs(value) <= kExact) || value != std::trunc(value)) fail("argument %d has an entry that is not an integer", i);
      out[k] = int64_t(value);
    }
  } else {
    fail("argument %d must be an Int32Array or an array of integers", i);
  }
  return out;
}

std::vector<Buffer*> Args::buffers(int i) const {
  std::vector<Buffer*> out;
  for (const int64_t handle : ints(i)) out.push_back(&onHost(graft::buffer(handle < 0 || handle > INT32_MAX ? -1 : int32_t(handle)), true));
  return out;
}

std::string Args::text(int i) const {
  if (i >= size() || !call(info_)[size_t(i)].IsString()) fail("argument %d must be a string", i);
  return call(info_)[size_t(i)].As<Napi::String>().Utf8Value();
}

void* Args::typedArray(int i, int64_t& bytes) const {
  if (i >= size() || !call(info_)[size_t(i)].IsTypedArray()) fail("argument %d must be a typed array", i);
  const auto a = call(info_)[size_t(i)].As<Napi::TypedArray>();
  bytes = int64_t(a.ByteLength());
  return static_cast<char*>(a.ArrayBuffer().Data()) + a.ByteOffset();
}

static Napi::Value invoke(const Napi::CallbackInfo& info) {
  Args args(&info);
  try {
    (*reinterpret_cast<Export>(info.Data()))(args);
  } catch (const Error& e) {
    throw Napi::Error::New(info.Env(), e.message);
  } catch (const std::bad_alloc&) {
    throw Napi::Error::New(info.Env(), "out of memory");
  } catch (const std::length_error&) {
    throw Napi::Error::New(info.Env(), "out of memory: a list longer than memory");
  }
  return args.hasResult ? Napi::Number::New(info.Env(), args.result) : info.Env().Undefined();
}

static Napi::Object init(Napi::Env env, Napi::Object object) {
  for (const auto& [name, f] : exports()) object.Set(name, Napi::Function::New(env, invoke, name, reinterpret_cast<void*>(f)));
  return object;
}

}  // namespace graft

static Napi::Object initModule(Napi::Env env, Napi::Object object) { return graft::init(env, object); }
NODE_API_MODULE(graft_cpu, initModule)
