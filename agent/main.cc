// SPDX-License-Identifier: Apache-2.0
// keyturnd. Everything is in AgentMain, so that a test can run the same program.
#include "agent/agent_main.h"

int main(int argc, char** argv) { return keyturn::AgentMain(argc, argv); }
