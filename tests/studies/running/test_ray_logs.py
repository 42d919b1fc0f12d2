from studies.running.ray_logs import why

STARTED = "[2026-11-28 20:43:03,184 I 30955 30982] (raylet) agent_manager.cc:81: Monitor agent process\n"
FAILED = """\
[2026-11-28 20:43:03,185 E 30955 30982] (raylet) agent_manager.cc:87: The raylet exited, as one agent failed
The raylet fate shares with the agent. This can happen because
- The version of `grpcio` doesn't follow Ray's requirement.
[2026-11-28 20:43:18,285 C 30955 30955] (raylet) node_manager.cc:3576:  Timed out waiting for file
*** StackTrace Information ***
/opt/ray/core/src/ray/raylet/raylet(+0xff770a) [0x55582bbb770a] ray::operator<<()
"""
ECHO = "Raylet is terminated. Termination is unexpected."
TRACEBACK = """\
/opt/ray/dashboard/agent.py:12: FutureWarning: soon gone
Traceback (most recent call last):
  File "/opt/ray/dashboard/agent.py", line 5, in <module>
    import grpc
ImportError: libgrpc.so: cannot open shared object file
"""


def test_the_line_that_tells_the_most(tmp_path):
    assert why(tmp_path / "none") == why(tmp_path) == ""
    (tmp_path / "raylet.out").write_text(STARTED)
    (tmp_path / "dashboard.err").write_text(
        "ERROR: ld.so: object 'x' from LD_PRELOAD cannot be preloaded: ignored.\n"
    )
    (tmp_path / "dashboard.log").write_text(
        "2026-11-28 20:42:28,734\tINFO agent.py:356 -- Starting\nplain words\n"
    )
    assert why(tmp_path) == ""
    (tmp_path / "raylet.err").write_text(STARTED + FAILED)
    assert why(tmp_path) == "The raylet exited, as one agent failed (raylet.err)"
    (tmp_path / "dashboard_agent.log").write_text(
        "2026-11-28 20:42:28,734\tERROR agent.py:9 -- No port is free\n"
    )
    assert why(tmp_path) == "No port is free (dashboard_agent.log)"
    (tmp_path / "dashboard_agent.err").write_text(TRACEBACK)
    assert why(tmp_path) == "ImportError: libgrpc.so: cannot open shared object file (dashboard_agent.err)"


def test_another_ray_beside_it_is_no_reason(tmp_path):
    taken = "An exception occurred while starting the metrics server."
    (tmp_path / "dashboard.log").write_text(f"2026-11-29 12:32:08,483\tERROR head.py:368 -- {taken}\n")
    assert why(tmp_path) == ""


def test_that_the_dashboard_is_not_up_is_told_by_its_own_logs(tmp_path):
    away = "Get dashboard http address failed."
    agent = tmp_path / "dashboard_agent.log"
    agent.write_text(f"2026-11-30 23:17:46,469\tERROR event_agent.py:75 -- {away}\n")
    assert why(tmp_path) == ""
    (tmp_path / "dashboard.err").write_text("ImportError: no module named aiohttp\n")
    assert why(tmp_path) == "ImportError: no module named aiohttp (dashboard.err)"


def test_what_the_shell_says_of_a_worker(tmp_path):
    (tmp_path / "raylet.err").write_text("bash: line 1: /home/me/My: No such file or directory\n")
    assert why(tmp_path) == "bash: line 1: /home/me/My: No such file or directory (raylet.err)"
