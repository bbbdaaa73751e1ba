// SPDX-License-Identifier: Apache-2.0
#include "agent/agent_main.h"

int main(int argc, char** argv) { return keyturn::AgentMain(argc, argv); }
