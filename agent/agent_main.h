// SPDX-License-Identifier: Apache-2.0
// The program keyturnd: command line, process hardening, signals, exit codes. A function, so that
// tests/crash can run the very same program with crash points observed and commits that fail.
#pragma once

#include "agent/agent.h"

namespace keyturn {

int AgentMain(int argc, char** argv, DecorateBackend decorate = nullptr);

}  // namespace keyturn
