// Runs the model of a bundle: as a program, and as a library that another program loads (bundle.h, bundle.py).
//
//   g++ -std=c++17 -O2 -Iinclude bundle.cpp -o run_model -Llib -ltvm_ffi -ldl '-Wl,-rpath,$ORIGIN/lib'
//   ./run_model FOLDER INPUT OUTPUT [CALLS]
//
// INPUT holds rows one after the other, in the numbers and the shape that signature.txt names; OUTPUT likewise.
// Before anything of the bundle is loaded, its bytes are compared with SHA256SUMS, and the library's machine with this.

#include <dlfcn.h>
#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace ffi = tvm::ffi;

namespace {

constexpr int kAlignment = 64;  // bytes; TVM's kernels load whole vectors
constexpr const char* kRuntime = "libtvm_runtime.so";

[[noreturn]] void Fail(const std::string& text) { throw std::runtime_error(text); }

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) Fail(path + " is missing or cannot be read");
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

// SHA-256 (FIPS 180-4) of `data`, in hex.
std::string ComputeSha256(const std::string& data) {
  static const uint32_t k[64] = {
      0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
      0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
      0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
      0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
      0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
      0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
      0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
      0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
  uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  auto rotate = [](uint32_t x, int n) { return (x >> n) | (x << (32 - n)); };
  auto add_block = [&](const unsigned char* block) {
    uint32_t w[64];
    for (int i = 0; i < 16; ++i)
      w[i] = uint32_t{block[4 * i]} << 24 | uint32_t{block[4 * i + 1]} << 16 | uint32_t{block[4 * i + 2]} << 8 |
             block[4 * i + 3];
    for (int i = 16; i < 64; ++i)
      w[i] = w[i - 16] + (rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ (w[i - 15] >> 3)) + w[i - 7] +
             (rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ (w[i - 2] >> 10));
    std::array<uint32_t, 8> s;
    std::copy(state, state + 8, s.begin());
    for (int i = 0; i < 64; ++i) {
      uint32_t one = s[7] + (rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25)) + ((s[4] & s[5]) ^ (~s[4] & s[6])) +
                     k[i] + w[i];
      uint32_t two =
          (rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22)) + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
      s = {one + two, s[0], s[1], s[2], s[3] + one, s[4], s[5], s[6]};
    }
    for (int i = 0; i < 8; ++i) state[i] += s[i];
  };
  const auto* bytes = reinterpret_cast<const unsigned char*>(data.data());
  size_t whole = data.size() / 64 * 64;
  for (size_t at = 0; at < whole; at += 64) add_block(bytes + at);
  std::string tail(data, whole);
  tail += '\x80';
  tail.resize(tail.size() <= 56 ? 56 : 120, '\0');
  for (int shift = 56; shift >= 0; shift -= 8) tail += static_cast<char>(uint64_t{data.size()} * 8 >> shift);
  for (size_t at = 0; at < tail.size(); at += 64) add_block(reinterpret_cast<const unsigned char*>(tail.data()) + at);
  char hex[65];
  for (int i = 0; i < 8; ++i) std::snprintf(hex + 8 * i, 9, "%08x", state[i]);
  return hex;
}

// Compare every file that SHA256SUMS lists, as `sha256sum --check` does.
void CheckDigests(const std::string& folder) {
  std::istringstream lines(ReadFile(folder + "/SHA256SUMS"));
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    if (line.size() < 67) Fail("SHA256SUMS: a line is no digest and name: " + line);
    std::string name = line.substr(66), actual = ComputeSha256(ReadFile(folder + "/" + name));
    if (actual != line.substr(0, 64))
      Fail(name + " has other bytes than the bundle was made with: its SHA-256 is " + actual + ", not " +
           line.substr(0, 64) + ". Unpack the bundle again");
  }
  if (count == 0) Fail("SHA256SUMS is empty");
}

std::string NameMachine(int machine) {
  if (machine == 62) return "x86_64";
  if (machine == 183) return "aarch64";
  return "machine " + std::to_string(machine);
}

// An ELF file for another machine would be called missing by the dynamic linker.
void CheckMachine(const std::string& folder, const std::string& name) {
  std::ifstream file(folder + "/" + name, std::ios::binary);
  unsigned char head[20] = {};
  file.read(reinterpret_cast<char*>(head), sizeof head);
  if (!file || std::memcmp(head, "\x7f" "ELF", 4) != 0) Fail(name + " is no library: it has no ELF header");
#if defined(__aarch64__)
  constexpr int here = 183;
#elif defined(__x86_64__)
  constexpr int here = 62;
#else
#error "Bundles are for aarch64 and x86_64"
#endif
  int machine = head[18] | head[19] << 8;
  if (machine != here)
    Fail(name + " is code for " + NameMachine(machine) + ", and this machine is " + NameMachine(here) +
         ". Compile the model for this machine's target");
}

struct AlignedAllocator {
  void AllocData(DLTensor* tensor) {
    size_t size = (ffi::GetDataSize(*tensor) + kAlignment - 1) / kAlignment * kAlignment;
    tensor->data = std::aligned_alloc(kAlignment, std::max<size_t>(size, kAlignment));
    if (!tensor->data) Fail("no memory for a tensor of " + std::to_string(size) + " bytes");
  }
  void FreeData(DLTensor* tensor) { std::free(tensor->data); }
};

// A tensor as signature.txt names it: "input float32 1 3 224 224". The first length is the batch.
struct Signature {
  DLDataType dtype{};
  std::vector<int64_t> shape;

  size_t CountRowValues() const {
    size_t values = 1;
    for (size_t i = 1; i < shape.size(); ++i) values *= shape[i];
    return values;
  }
  size_t CountRowBytes() const { return CountRowValues() * dtype.bits / 8; }
};

Signature ParseSignature(std::istringstream& words) {
  Signature signature;
  std::string dtype;
  words >> dtype;
  if (dtype == "float32")
    signature.dtype = {kDLFloat, 32, 1};
  else if (dtype == "int64")
    signature.dtype = {kDLInt, 64, 1};
  else
    Fail("signature.txt: numbers of the type '" + dtype + "' are not taken, only float32 and int64");
  for (int64_t length; words >> length;) signature.shape.push_back(length);
  if (signature.shape.empty() || *std::min_element(signature.shape.begin(), signature.shape.end()) < 1)
    Fail("signature.txt: a tensor has no shape");
  return signature;
}

}  // namespace

struct Bundle {
  Signature input, output;
  std::vector<std::pair<size_t, float>> codes;  // place of an input that takes categories, and the code of none
  ffi::Any library, machine;  // kept as long as main, whose code they are
  ffi::Function main;

  explicit Bundle(const std::string& folder) {
    CheckDigests(folder);
    ReadSignature(folder);
    std::string runtime = folder + "/lib/" + kRuntime;
    CheckMachine(folder, std::string("lib/") + kRuntime);
    CheckMachine(folder, "model.so");
    // Nothing here refers to it; loading it registers TVM's virtual machine.
    if (!dlopen(runtime.c_str(), RTLD_NOW | RTLD_GLOBAL)) Fail(std::string("cannot load ") + kRuntime + ": " + dlerror());
    library = ffi::Module::LoadFromFile(folder + "/model.so");
    machine = Get(library, "vm_load_executable")();
    Get(machine, "vm_initialization")(static_cast<int>(kDLCPU), 0, 2);  // processor, its number, pooled memory
    main = Get(machine, "main");
  }

  void Run(const char* in, size_t rows, char* out) {
    size_t in_row = input.CountRowBytes(), out_row = output.CountRowBytes(), batch = input.shape[0];
    for (size_t row = 0; row < rows; row += batch) {
      size_t count = std::min(batch, rows - row);
      auto tensor = ffi::Tensor::FromNDAlloc(AlignedAllocator(), ffi::ShapeView(input.shape.data(), input.shape.size()), input.dtype,
                                             DLDevice{kDLCPU, 0});
      char* data = static_cast<char*>(tensor.data_ptr());
      std::memset(data, 0, batch * in_row);  // a batch that is not full
      std::memcpy(data, in + row * in_row, count * in_row);
      ReplaceMissingCodes(data, count);
      ffi::Any answer = main(tensor);
      ffi::Tensor result = answer.type_index() == ffi::TypeIndex::kTVMFFITensor
                               ? answer.cast<ffi::Tensor>()
                               : answer.cast<ffi::Array<ffi::Any>>()[0].cast<ffi::Tensor>();
      if (ffi::GetDataSize(result) != batch * out_row) Fail("model.so gives another shape than signature.txt names");
      std::memcpy(out + row * out_row, static_cast<const char*>(result.data_ptr()) + result.byte_offset(), count * out_row);
    }
  }

 private:
  static ffi::Function Get(const ffi::Any& module, const char* name) {
    auto function = module.cast<ffi::Module>()->GetFunction(name);
    if (!function.has_value()) Fail(std::string("model.so is no compiled model: it has no function ") + name);
    return function.value();
  }

  void ReadSignature(const std::string& folder) {
    std::istringstream lines(ReadFile(folder + "/signature.txt"));
    for (std::string line; std::getline(lines, line);) {
      std::istringstream words(line);
      std::string kind;
      words >> kind;
      if (kind == "input") input = ParseSignature(words);
      if (kind == "output") output = ParseSignature(words);
      if (kind == "codes") {
        size_t place = 0, count = 0;
        words >> place >> count;
        codes.emplace_back(place, static_cast<float>(count));
      }
    }
    if (input.shape.empty() || output.shape.empty()) Fail("signature.txt names no input or no output");
  }

  // A code that is not finite would become an address.
  void ReplaceMissingCodes(char* data, size_t rows) {
    auto* values = reinterpret_cast<float*>(data);
    for (size_t row = 0; row < rows; ++row)
      for (auto [place, none] : codes) {
        float& value = values[row * input.CountRowValues() + place];
        if (!std::isfinite(value)) value = none;
      }
  }
};

namespace {
thread_local std::string last_error;

template <typename Call>
auto Guard(Call call, decltype(call()) failed) -> decltype(call()) {
  try {
    return call();
  } catch (const ffi::Error& error) {
    last_error = error.message();
  } catch (const std::exception& error) {
    last_error = error.what();
  }
  return failed;
}
}  // namespace

extern "C" {

// The model in a folder, or null: then bundle_error says why.
Bundle* bundle_open(const char* folder) {
  return Guard([&] { return new Bundle(folder); }, static_cast<Bundle*>(nullptr));
}

const char* bundle_error() { return last_error.c_str(); }

// Bytes of one row of the input and of the output.
int64_t bundle_input_bytes(const Bundle* bundle) { return bundle->input.CountRowBytes(); }
int64_t bundle_output_bytes(const Bundle* bundle) { return bundle->output.CountRowBytes(); }

// Outputs of `rows` rows, any number of them; 0, or 1: then bundle_error says why. One call at a time.
int bundle_run(Bundle* bundle, const void* input, int64_t rows, void* output) {
  return Guard(
      [&] {
        bundle->Run(static_cast<const char*>(input), rows, static_cast<char*>(output));
        return 0;
      },
      1);
}

void bundle_close(Bundle* bundle) { delete bundle; }

}  // extern "C"

#ifdef BUNDLE_PROGRAM
namespace {

void RunProgram(const std::string& folder, const std::string& in_path, const std::string& out_path, int calls) {
  Bundle bundle(folder);
  std::string input = ReadFile(in_path);
  size_t row = bundle.input.CountRowBytes();
  if (input.empty() || input.size() % row != 0)
    Fail(in_path + " holds " + std::to_string(input.size()) + " bytes; a row of the model takes " + std::to_string(row) +
         ", so that this is no whole number of rows");
  size_t rows = input.size() / row;
  std::string output(rows * bundle.output.CountRowBytes(), '\0');
  std::vector<double> seconds;
  for (int call = 0; call < calls; ++call) {
    auto start = std::chrono::steady_clock::now();
    bundle.Run(input.data(), rows, output.data());
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::ofstream file(out_path, std::ios::binary);
  file.write(output.data(), output.size());
  file.close();
  if (!file) Fail(out_path + " cannot be written");
  std::sort(seconds.begin(), seconds.end());
  std::cout << "rows " << rows << " calls " << calls << " median_ms " << 1e3 * seconds[seconds.size() / 2] << "\n";
}

}  // namespace

int main(int count, char** words) {
  int calls = count == 5 ? std::atoi(words[4]) : 1;
  if ((count != 4 && count != 5) || calls < 1) {
    std::cerr << "usage: " << words[0] << " FOLDER INPUT OUTPUT [CALLS]\n";
    return 2;
  }
  return Guard(
             [&] {
               RunProgram(words[1], words[2], words[3], calls);
               return 0;
             },
             1) == 0
             ? 0
             : (std::cerr << "error: " << last_error << "\n", 1);
}
#endif
