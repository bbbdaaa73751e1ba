// SPDX-License-Identifier: Apache-2.0
// Runs a fuzz target where libFuzzer is not there: feeds it every file of the folders and files
// given as arguments, then a fixed number of mutations of them, always the same ones. It guarantees
// that each flavour exercises the fuzz targets a little, repeatably, and that a recorded input can
// be run again under a debugger. A target that misbehaves ends the process. Single-threaded.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <system_error>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

constexpr int kMutations = 5000;
constexpr size_t kSizeMax = 4096;

using Input = std::vector<uint8_t>;

void RunOne(const Input& input) { LLVMFuzzerTestOneInput(input.data(), input.size()); }

bool ReadInto(const std::filesystem::path& path, std::vector<Input>* corpus) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return false;
  corpus->emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  return true;
}

// The engine's raw output, reduced by hand: the distributions of the standard library differ
// between implementations, and the mutations should not.
size_t Below(std::mt19937_64* random, size_t bound) {
  return static_cast<size_t>((*random)() % bound);
}

Input Mutate(const std::vector<Input>& corpus, std::mt19937_64* random) {
  Input input = corpus[Below(random, corpus.size())];
  const size_t changes = 1 + Below(random, 6);
  for (size_t i = 0; i < changes; ++i) {
    const size_t at = Below(random, input.size() + 1);
    const auto where = input.begin() + static_cast<std::ptrdiff_t>(at);
    const auto byte = static_cast<uint8_t>((*random)() & 0xff);
    switch (Below(random, 5)) {
      case 0:  // flip one bit
        if (at < input.size()) input[at] ^= static_cast<uint8_t>(1U << (byte & 7U));
        break;
      case 1:  // put a byte in
        if (input.size() < kSizeMax) input.insert(where, byte);
        break;
      case 2:  // take a byte out
        if (at < input.size()) input.erase(where);
        break;
      case 3:  // cut the end off
        input.resize(at);
        break;
      default: {  // go on as another input does
        const Input& other = corpus[Below(random, corpus.size())];
        const size_t from = Below(random, other.size() + 1);
        input.resize(at);
        input.insert(input.end(), other.begin() + static_cast<std::ptrdiff_t>(from), other.end());
        if (input.size() > kSizeMax) input.resize(kSizeMax);
      }
    }
  }
  return input;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<Input> corpus;
  for (int i = 1; i < argc; ++i) {
    const std::filesystem::path given(argv[i]);
    std::error_code error;
    if (std::filesystem::is_directory(given, error)) {
      for (const auto& entry : std::filesystem::recursive_directory_iterator(given)) {
        if (entry.is_regular_file() && !ReadInto(entry.path(), &corpus)) {
          std::fprintf(stderr, "cannot read %s\n", entry.path().c_str());
          return EXIT_FAILURE;
        }
      }
    } else if (!ReadInto(given, &corpus)) {
      std::fprintf(stderr, "cannot read %s\n", given.c_str());
      return EXIT_FAILURE;
    }
  }
  for (const Input& input : corpus) RunOne(input);
  const size_t recorded = corpus.size();
  if (corpus.empty()) corpus.emplace_back();
  std::mt19937_64 random(20240101);
  for (int i = 0; i < kMutations; ++i) RunOne(Mutate(corpus, &random));
  std::printf("ran %zu recorded inputs and %d mutations\n", recorded, kMutations);
  return EXIT_SUCCESS;
}
