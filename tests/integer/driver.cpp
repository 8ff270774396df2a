// Evaluates networks in integers, without Python.
//
// driver                 prints the instruction sets there are, one a line
// driver ISA             reads cases from standard input, and writes the samples of each

#include <exception>
#include <string>

#include "cases.h"

int main(int count, char** arguments) try {
  using namespace tcnn_codec;
  if (count < 2)
    for (const std::string& isa : integer_isas()) std::printf("%s\n", isa.c_str());
  ReadCase given;
  while (count == 2 && given.read()) {
    std::vector<uint8_t> out(given.samples());
    IntegerSiren(arguments[1], given.threads).render(given.network, given.grid, out.data());
    std::fwrite(out.data(), 1, out.size(), stdout);
  }
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
