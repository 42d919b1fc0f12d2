"""docker/: the images and compose.yaml hold together and name only what exists. No engine is needed."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest
import typer
import yaml

from service.cli import app
from service.settings import Settings
from studies.running import trial

ROOT = Path(__file__).parent.parent
DOCKER = ROOT / "docker"
TARGETS = ("service", "worker-cpu", "worker-cuda")
PROBE = re.compile(r"http://127\.0\.0\.1:(\d+)(/\w+)")


def parsed_stages():
    """The Dockerfile's stages by name: what each is made from, and its instructions."""
    text = re.sub(r"^#.*\n", "", (DOCKER / "Dockerfile").read_text(), flags=re.MULTILINE)
    stages = {}
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            source, _, name = rest.partition(" AS ")
            stages[name] = source, []
        elif word:
            stages[name][1].append((word, rest))
    return stages


STAGES = parsed_stages()
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}


def lineage(stage):
    """The stage's instructions after those of the stages it is made from."""
    source, own = STAGES[stage]
    return (lineage(source) if source in STAGES else []) + own


def last(stage, word):
    return [rest for instruction, rest in lineage(stage) if instruction == word][-1]


def command(name):
    """What a service runs, as a list: its own command or its image's."""
    service = SERVICES[name]
    return service.get("command") or yaml.safe_load(last(service["build"]["target"], "CMD"))


def environment(name):
    """A service's variables, its image's too."""
    target = SERVICES[name].get("build", {}).get("target")
    lines = [rest for word, rest in lineage(target) if word == "ENV"] if target else []
    return dict(pair.split("=", 1) for line in lines for pair in shlex.split(line)) | SERVICES[name].get(
        "environment", {}
    )


def named_secrets(name):
    """The secrets whose files a service's variables name."""
    values = map(str, SERVICES[name].get("environment", {}).values())
    return {value.removeprefix("/run/secrets/") for value in values if value.startswith("/run/secrets/")}


def test_every_image_from_elsewhere_has_a_version():
    bases = {source for source, _ in STAGES.values()} - STAGES.keys()
    images = bases | {service["image"] for name, service in SERVICES.items() if name not in OURS}
    assert len(images) == 2
    assert all(re.search(r":\d", image) for image in images)


def test_every_install_is_constrained():
    installs = [
        line
        for _, instructions in STAGES.values()
        for word, rest in instructions
        if word == "RUN"
        for line in re.findall(r"pip (?:install|wheel)[^&]*", rest)
    ]
    resolving = [line for line in installs if "--no-deps --no-index" not in line]
    assert len(resolving) == 3
    assert all("-c constraints.txt" in line for line in resolving)
    assert all("--only-binary :all:" in line for line in resolving if "-r " in line)


@pytest.mark.parametrize("target", TARGETS)
def test_images(target):
    user, group = last(target, "USER").split(":")
    assert int(user) > 0 < int(group)
    runs = [rest for word, rest in lineage(target) if word == "RUN"]
    assert any(f"useradd --uid {user} " in run for run in runs)
    assert "CMD [" in last(target, "HEALTHCHECK")
    assert last(target, "CMD").startswith("[")
    # what builds and downloads stays in stages that the image only copies from, but for what torch.compile calls
    installs = [run for run in runs if re.search(r"\b(apt|apt-get|gcc|curl)\b", run)]
    assert [re.findall(r"--no-install-recommends (.*?) &&", run) for run in installs] == (
        [["g++"]] if target == "worker-cuda" else []
    )
    assert all("--no-deps --no-index" in run for run in runs if "pip" in run)


@pytest.mark.parametrize("target", TARGETS)
def test_only_the_gpu_workers_have_cuda(target):
    (copied,) = (rest for word, rest in lineage(target) if word == "COPY")
    environment = copied.split()[0].removeprefix("--from=")
    from_cpu_index = any("--extra-index-url" in rest for word, rest in lineage(environment) if word == "RUN")
    assert from_cpu_index == (target != "worker-cuda")


def test_what_is_copied_is_there_and_not_ignored():
    kept = {
        line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"
    }
    copied = {
        source
        for _, instructions in STAGES.values()
        for word, rest in instructions
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    assert copied == kept
    assert all((ROOT / source).exists() for source in copied)


def test_the_wheel_would_have_every_file():
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    packed = {
        path for package, globs in data.items() for glob in globs for path in (ROOT / package).glob(glob)
    }
    for package in ("trainers", "studies", "service"):
        files = [
            path for path in (ROOT / package).rglob("*") if path.is_file() and "__pycache__" not in path.parts
        ]
        for path in files:
            assert path.suffix == ".py" or path in packed, f"{path}: add it to package-data in pyproject.toml"
        for folder in {path.parent for path in files if path.suffix == ".py"}:
            assert (folder / "__init__.py").exists(), f"{folder}: not a package, left out of the wheel"


def test_only_the_service_is_published_and_on_loopback():
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["service"]
    (port,) = SERVICES["service"]["ports"]
    assert port.startswith("${SERVICE_ADDRESS:-127.0.0.1}:")
    assert port.endswith(":" + command("service")[command("service").index("--port") + 1])
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    # the data come from the package index; everything else has no way out
    assert {name for name, service in SERVICES.items() if service["networks"] != ["inside"]} == {
        "service",
        "data",
    }


@pytest.mark.parametrize("name", SERVICES)
def test_contained(name):
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] or name == "worker-gpu"
    assert "privileged" not in service
    assert service["init"]


def test_no_secret_is_a_value():
    for name in SERVICES:
        for variable, value in environment(name).items():
            if re.search("PASSWORD|TOKEN|SECRET|DATABASE_URL", variable):
                assert value.startswith("/run/secrets/"), f"{name}: {variable}"
    text = (DOCKER / "compose.yaml").read_text() + (DOCKER / "Dockerfile").read_text()
    assert not re.search(r"://[^/\s]*:[^/\s]*@", text)
    assert (DOCKER / ".gitignore").read_text().split() == [".env", "secrets/"]
    for secret in COMPOSE["secrets"].values():
        assert secret["file"].startswith("secrets/")


@pytest.mark.parametrize("name", SERVICES)
def test_each_container_has_the_secrets_it_names_and_no_other(name):
    granted = set(SERVICES[name].get("secrets", []))
    assert granted == named_secrets(name)
    assert granted <= COMPOSE["secrets"].keys()


def test_workers_hold_the_token_and_not_the_database():
    for name in ("worker", "worker-gpu"):
        assert SERVICES[name]["secrets"] == ["ray_token"]
    for name in ("service", "ray-head", "worker", "worker-gpu"):
        assert environment(name)["RAY_AUTH_MODE"] == "token"


def test_trials_find_the_data_where_the_driver_does():
    mounts = {
        name: [mount for mount in SERVICES[name]["volumes"] if mount.startswith("data:/data")]
        for name in OURS
        if name != "migrate"
    }
    assert all(mounts.values())
    assert [name for name, mount in mounts.items() if mount == ["data:/data"]] == ["data"]
    assert {environment(name)["TUNEBENCH_DATA_DIR"] for name in OURS} == {"/data"}
    kept = trial.folder(
        Path("/data")
    )  # of long trials, which go on there: in a volume that workers can write
    assert all(f"checkpoints:{kept}" in SERVICES[name]["volumes"] for name in ("worker", "worker-gpu"))
    assert f"mkdir -p {kept} && " in command("data")[-1]
    assert any(f" {kept} " in rest for _, rest in lineage("worker-cpu"))  # owned by the images' user


class Asked(dict):
    """An environment that remembers which of its variables were asked for."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def get(self, name, default=None):
        self.names.add(name)
        return default


def test_every_variable_is_a_setting():
    asked = Asked()
    Settings.from_environment(asked)
    used = {name for service in OURS for name in environment(service) if name.startswith("TUNEBENCH_")}
    assert used
    assert used <= asked.names


def commands_of(text):
    return [shlex.split(line.split(" #")[0]) for line in re.findall(r"\btunebench [a-z].*", text)]


README = (DOCKER / "README.md").read_text()
FENCED = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))


@pytest.mark.parametrize(
    "line",
    [command(name) for name in OURS if command(name)[0] == "tunebench"] + commands_of(FENCED),
    ids=" ".join,
)
def test_commands_exist(line):
    found, words = typer.main.get_command(app), line[1:]
    while hasattr(found, "commands"):
        assert words[0] in found.commands, f"{' '.join(line)}: known are {', '.join(found.commands)}"
        found, words = found.commands[words[0]], words[1:]
    found.make_context(line[0], words)  # raises for an option it does not know or an argument it lacks


@cache
def ray_start_options(words):
    """What `ray start` makes of its arguments. Apart, as Ray reads settings when it is imported."""
    code = (
        "import json, sys; from ray.scripts.scripts import start;"
        "print(json.dumps(start.make_context('start', sys.argv[1:]).params))"
    )
    line = [sys.executable, "-W", "ignore", "-c", code, *words]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["ray-head", "worker", "worker-gpu"])
def test_ray_starts_by_options_it_knows(name):
    words = command(name)
    if words[:2] == ["sh", "-c"]:
        words = shlex.split(
            words[2].removeprefix("exec ").replace("$RAY_ADDRESS", environment(name)["RAY_ADDRESS"])
        )
    assert words[:2] == ["ray", "start"]
    options = ray_start_options(tuple(words[2:]))
    assert options["block"]
    if options["head"]:
        assert SERVICES["service"]["environment"]["RAY_ADDRESS"] == f"{name}:{options['port']}"
        assert (
            SERVICES["service"]["environment"]["TUNEBENCH_RAY_DASHBOARD"]
            == f"http://{name}:{options['dashboard_port']}"
        )
        assert f":{options['dashboard_port']}/" in str(SERVICES[name]["healthcheck"])
        assert options["num_cpus"] == 0
    else:
        assert options["address"] == SERVICES["service"]["environment"]["RAY_ADDRESS"]
        port, _ = PROBE.search(last(SERVICES[name]["build"]["target"], "HEALTHCHECK")).groups()
        assert int(port) == options["dashboard_agent_listen_port"]


def has_probe(name):
    target = SERVICES[name].get("build", {}).get("target")
    check = SERVICES[name].get("healthcheck", {})
    return "test" in check or (
        bool(target) and not check.get("disable") and bool(last(target, "HEALTHCHECK"))
    )


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_waited_for_can_come(name):
    for other, how in SERVICES[name].get("depends_on", {}).items():
        once = SERVICES[other]["restart"] == "no"
        assert how["condition"] == ("service_completed_successfully" if once else "service_healthy")
        assert has_probe(other) != once
    for volume in SERVICES[name].get("volumes", []):
        source, _, target = volume.partition(":")
        assert source in COMPOSE["volumes"] if target else source == "/tmp"
    assert set(SERVICES[name]["networks"]) <= COMPOSE["networks"].keys()
    if name in OURS:
        build = SERVICES[name]["build"]
        assert (DOCKER / build["context"]).resolve() == ROOT
        assert (ROOT / build["dockerfile"]).exists()
        assert SERVICES[name]["image"] == f"tunebench-{build['target']}"
        assert build["target"] in TARGETS


def test_the_service_is_probed_where_it_listens():
    port, path = PROBE.search(last("service", "HEALTHCHECK")).groups()
    assert ["--port", port] == command("service")[-2:]
    assert path == "/healthz"
