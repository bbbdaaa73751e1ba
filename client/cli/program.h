// SPDX-License-Identifier: Apache-2.0
// The program as a function: arguments in, exit code out.
#pragma once

#include <string>
#include <vector>

namespace keyturn::cli {

// Parses the command line and runs the command it names.
int RunProgram(int argc, char** argv);

// The command whose name is nearest to what was typed, if any is near enough. Pure.
std::string NearestCommand(const std::string& typed, const std::vector<std::string>& commands);

}  // namespace keyturn::cli
