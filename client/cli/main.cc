// SPDX-License-Identifier: Apache-2.0
// keyturn: the command line of the Keyturn agent. See keyturn(1), or `keyturn --help`.
#include "client/cli/program.h"

int main(int argc, char** argv) { return keyturn::cli::RunProgram(argc, argv); }
