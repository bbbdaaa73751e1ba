# SPDX-License-Identifier: Apache-2.0
"""Plugins under the real agent: they are started as the configuration says and never outlive it,
what they make is rotated and handed out, and their trouble is told and passes.
"""

import os
import pwd
import shutil

import grpc_calls
import resources
from harness import *
from plugin_calls import sha256


def _resources(**params):
    return {
        "providers": {"made-elsewhere": {"plugin": "fake", "manager": "fake/admin",
                                         "params": {"class": "TAGGED", **params}}},
        "credentials": {"fake/admin": resources.STATIC,
                        "team/key": resources.api_key("made-elsewhere")},
        "policies": {"all": resources.reader("**")},
    }


class PluginAgentTest(IntegrationTest):
    def configure(self, program=None, mode="normal", **more):
        program = program or binary("fake_plugin")
        return {"plugins": {"fake": {"command": [program, "--mode", mode],
                                     "sha256": sha256(program), "timeout": "10s", **more}}}

    def agent_with_key(self, **configuration):
        agent = self.start_agent(changes=self.configure(**configuration))
        agent.cli().apply(_resources(), self.directory).expect(0)
        agent.cli().run("put", "fake/admin", stdin="admin").expect(0)
        wait_until(lambda: self.value(agent), 30, "the first key")
        return agent

    def value(self, agent):
        with grpc_calls.Client(agent.services_socket) as client:
            try:
                return client.value("team/key")
            except grpc_calls.grpc.RpcError:
                return None

    def plugin_pid(self, agent):
        return agent.wait_for_log(event="plugin_ready", plugin="fake")["pid"]

    def test_a_key_of_a_plugin_is_rotated_and_handed_out(self):
        agent = self.agent_with_key()
        first = self.value(agent)
        agent.cli().ok("rotate", "team/key")
        second = self.value(agent)
        self.assertNotEqual(first, second)
        self.assertNotIn(second, agent.all_output())
        self.assertEqual(agent.foreign_log_lines(), [])
        exported = agent.cli().ok("export")
        self.assertIn("plugin: fake", exported)

    def test_a_plugin_does_not_outlive_a_killed_agent(self):
        agent = self.start_agent(changes=self.configure())
        pid = self.plugin_pid(agent)
        self.assertTrue(os.path.exists(f"/proc/{pid}"))
        agent.kill()
        wait_until(lambda: not os.path.exists(f"/proc/{pid}"), 20, "the plugin to end")

    def test_a_plugin_that_comes_late_is_taken_into_use(self):
        program = self.path("plugin")
        shutil.copy(binary("fake_plugin"), program)
        agent = self.agent_with_key(program=program)
        first = self.value(agent)
        agent.stop()
        os.rename(program, program + ".away")
        agent.start()
        down = agent.wait_for_event("PROVIDER_DOWN", provider="fake", cause="not_startable")
        self.assertEqual("PROVIDER_DOWN:provider:fake", down["dedupe_key"])
        self.assertEqual(first, self.value(agent), "what is stored is served all the same")
        status = agent.cli().run("status", "-o", "json").json()
        self.assertEqual(["PROVIDER_DOWN"], [entry["code"] for entry in status["failures"]])
        self.assertNotEqual(0, agent.cli().run("rotate", "team/key").code)
        os.rename(program + ".away", program)
        agent.wait_for_event("PROVIDER_DOWN", event="RESOLVED", deadline=60)
        wait_until(lambda: agent.cli().run("rotate", "team/key").code == 0, 30, "a rotation")
        self.assertNotEqual(first, self.value(agent))

    def test_what_it_prints_is_marked_as_its_own(self):
        agent = self.start_agent(changes=self.configure(mode="chatter"))
        agent.wait_for_log(event="plugin_output", plugin="fake", line="line 3")
        self.assertEqual(agent.foreign_log_lines(), [])

    def test_mistakes_in_resources_have_their_place(self):
        agent = self.start_agent(changes=self.configure())
        refused = agent.cli().apply(_resources(**{"class": "NONSENSE"}), self.directory)
        self.assertIn("params.class", refused.stderr)
        self.assertNotEqual(0, refused.code)
        both = _resources()
        both["providers"]["made-elsewhere"]["recipe"] = "npm-token"
        self.assertIn("exactly one", agent.cli().apply(both, self.directory).stderr)
        other = _resources()
        other["providers"]["made-elsewhere"]["plugin"] = "nobody"
        self.assertIn("no plugin", agent.cli().apply(other, self.directory).stderr)

    def test_mistakes_in_the_configuration_stop_the_start(self):
        program = binary("fake_plugin")
        good = {"command": [program], "sha256": "0" * 64}
        for change, place in (({"command": ["fake_plugin"]}, "command"), ({"command": []}, "command"),
                              ({"sha256": "12"}, "sha256"), ({"user": "no-such-user"}, "user"),
                              ({"timeout": "1h"}, "timeout"), ({"socket": "x"}, "socket")):
            agent = Agent(self.subdirectory("wrong"),
                          changes={"plugins": {"fake": {**good, **change}}})
            self.processes.append(agent)
            self.assertEqual(2, agent.run_to_end())
            self.assertIn("plugins.fake", agent.all_output())
            self.assertIn(place, agent.all_output())

    @unittest.skipUnless(os.getuid() == 0, "only root can give a process to another user")
    def test_a_plugin_can_run_as_another_user(self):
        agent = self.start_agent(changes=self.configure(user="nobody"))
        pid = self.plugin_pid(agent)
        nobody = pwd.getpwnam("nobody")
        with open(f"/proc/{pid}/status", encoding="utf-8") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        self.assertEqual([str(nobody.pw_uid)] * 4, status["Uid"].split())
        self.assertEqual([str(nobody.pw_gid)] * 4, status["Gid"].split())
        self.assertEqual("", status["Groups"].strip())
        self.assertEqual("1", status["NoNewPrivs"])


if __name__ == "__main__":
    unittest.main()
