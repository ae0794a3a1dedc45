"""What holds for the repository as a whole: its container files, its documents, its locks, its package names."""

import importlib
import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
import yaml

from cli.main import app
from domain.campaign import SEARCH_ATTRIBUTES

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
)
LOCKS = {"requirements.lock": (), "requirements-dev.lock": ("local", "dev")}
"""The lock files, and the extras that each covers beside the dependencies proper."""

_FENCE = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"(?<!!)\[[^\]\n]+\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*$", re.MULTILINE)


def committed() -> list[Path]:
    """Every file that is, or is about to be, under version control."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [path for name in listing.splitlines() if (path := ROOT / name).is_file()]


def code_in(document: Path) -> str:
    """The code blocks and code spans of a document, one after the other."""
    text = document.read_text()
    return "\n".join([*_FENCE.findall(text), *_SPAN.findall(_FENCE.sub("", text))])


def commands_in(text: str) -> set[tuple[str, ...]]:
    """``huntaze campaign start …`` as ``("campaign", "start")``, ``huntaze up …`` as ``("up",)``."""
    words = re.findall(r"(?<![\w./-])(?:\.venv/bin/)?huntaze ([a-z-]+)(?: ([a-z-]+))?", text)
    return {(first, second) if first == "campaign" and second else (first,) for first, second in words}


def commands_that_exist() -> set[tuple[str, ...]]:
    """Every command and subcommand of the command line."""
    root = typer.main.get_command(app)
    found: set[tuple[str, ...]] = set()
    for name, command in getattr(root, "commands", {}).items():
        found.add((name,))
        found |= {(name, inner) for inner in getattr(command, "commands", {})}
    return found


def compose() -> dict[str, Any]:
    """The Compose file, with its anchors resolved."""
    parsed: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return parsed


def ours(services: dict[str, Any]) -> dict[str, Any]:
    """The services that run our own image."""
    return {name: service for name, service in services.items() if service["image"].startswith("huntaze:")}


def stages() -> dict[str, list[str]]:
    """The Dockerfile's instructions by stage, in order; continued lines are joined."""
    found: dict[str, list[str]] = {}
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    current: list[str] = []
    for line in text.splitlines():
        if line.startswith("FROM "):
            current = found.setdefault(line.split(" AS ")[1], [])
        if line and not line.startswith("#"):
            current.append(line)
    return found


def lineage(stage: str) -> list[str]:
    """All instructions that make a stage, those of the stages that it is built on first."""
    instructions = stages()[stage]
    base = instructions[0].split()[1]
    return [*(lineage(base) if base in stages() else []), *instructions[1:]]


def anchor(heading: str) -> str:
    """The fragment that a Markdown heading gets on code hosts."""
    words = re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", heading).lower())
    return words.replace(" ", "-")


def requirement_name(requirement: str) -> str:
    """``openai[aiohttp]>=3`` as ``openai``, in the normal form of names."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match is not None
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def locked(lock: str) -> dict[str, str]:
    """Every requirement of a lock by name, with all that belongs to it."""
    text = (ROOT / lock).read_text().replace("\\\n", " ")
    entries = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    return {requirement_name(entry): entry for entry in entries}


class TestCompose:
    def test_file_is_valid_against_the_published_schema(self) -> None:
        schema = json.loads((ROOT / "tests" / "data" / "compose-spec.json").read_text())
        jsonschema.Draft202012Validator(schema).validate(compose())

    def test_our_services_run_commands_that_exist(self) -> None:
        for name, service in ours(compose()["services"]).items():
            assert tuple(service["command"]) in commands_that_exist(), name

    def test_simulators_run_modules_that_exist(self) -> None:
        simulators = [service for service in compose()["services"].values() if "dev" in service["image"]]
        assert simulators
        for service in simulators:
            assert service["profiles"] == ["simulators"]
            interpreter, option, module, *_ = service["entrypoint"]
            assert (interpreter, option) == ("python", "-m")
            assert (ROOT / module.replace(".", "/") / "__main__.py").is_file()

    def test_ports_are_published_on_the_loopback_interface_only(self) -> None:
        published = [port for service in compose()["services"].values() for port in service.get("ports", ())]
        assert published
        assert [port for port in published if not str(port).startswith("127.0.0.1:")] == []

    def test_every_long_running_part_is_checked_before_others_rely_on_it(self) -> None:
        services = compose()["services"]
        for name, service in services.items():
            for needed, how in service.get("depends_on", {}).items():
                if how["condition"] == "service_healthy":
                    assert "healthcheck" in services[needed], f"{name} waits for {needed}, which has no health check"

    def test_files_that_it_mounts_exist(self) -> None:
        mounts = [mount for service in compose()["services"].values() for mount in service.get("volumes", ())]
        sources = {mount.split(":")[0] for mount in mounts}
        assert [source for source in sources if source.startswith("./") and not (ROOT / source).exists()] == []

    def test_no_secret_is_written_into_it(self) -> None:
        development = {"", "local", "testing", "temporal"}
        for name, service in compose()["services"].items():
            for variable, content in service.get("environment", {}).items():
                if re.search(r"KEY|SECRET|PASSWORD|PWD|TOKEN", variable):
                    default = re.fullmatch(r"\$\{\w+:-(.*)\}", content)
                    assert (default[1] if default else content) in development, f"{name}: {variable}"

    def test_containers_use_the_addresses_of_this_file_only(self) -> None:
        """A .env made for another use must not lead containers to real services."""
        for name, service in ours(compose()["services"]).items():
            for variable, content in service["environment"].items():
                if re.search(r"URL|ADDRESS|ENDPOINT", variable):
                    assert not content.startswith("${") or content.startswith("${STACK_"), f"{name}: {variable}"

    def test_namespace_setup_registers_every_search_attribute(self) -> None:
        script = (ROOT / "deploy" / "temporal" / "setup-namespace.sh").read_text()
        assert [name for name in SEARCH_ATTRIBUTES if name not in script] == []


class TestDockerfile:
    def test_every_target_that_compose_builds_exists(self) -> None:
        targets = {service["build"]["target"] for service in compose()["services"].values() if "build" in service}
        assert targets <= stages().keys()

    def test_the_last_stage_is_the_production_image(self) -> None:
        assert list(stages())[-1] == "production"

    @pytest.mark.parametrize("target", ["production", "dev"])
    def test_runs_as_an_unprivileged_user(self, target: str) -> None:
        users = [line.split()[1] for line in lineage(target) if line.startswith("USER ")]
        assert users
        assert users[-1].split(":")[0] not in {"0", "root"}

    def test_production_image_holds_neither_simulators_nor_tests(self) -> None:
        copied = [line for line in lineage("production") if line.startswith(("COPY ", "ADD "))]
        sources = {word.removeprefix("./").rstrip("/") for line in copied for word in line.split()[1:-1]}
        assert sources.isdisjoint({"local", "tests", "benchmarks", "docs", "."})

    def test_production_image_holds_every_production_package(self) -> None:
        copied = {line.split()[1] for line in lineage("production") if line.startswith("COPY ")}
        assert {"domain", "activities", "workflows", "adapters", "api", "cli", "worker.py"} <= copied

    def test_dependencies_are_installed_from_the_lock_with_hashes(self) -> None:
        installs = [line for lines in stages().values() for line in lines if "pip install" in line]
        assert installs
        assert all("--require-hashes" in line and "requirements.lock" in line for line in installs)


class TestDocuments:
    @pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
    def test_relative_links_lead_somewhere(self, document: Path) -> None:
        text = _FENCE.sub("", document.read_text())
        broken = []
        for target in _LINK.findall(text):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, fragment = target.partition("#")
            path = (document.parent / name).resolve() if name else document
            known = {anchor(heading) for heading in _HEADING.findall(path.read_text())} if path.is_file() else set()
            if not path.exists() or (fragment and fragment not in known):
                broken.append(target)
        assert broken == []

    @pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
    def test_commands_exist(self, document: Path) -> None:
        assert commands_in(code_in(document)) - commands_that_exist() == set()

    @pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
    def test_make_targets_exist(self, document: Path) -> None:
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        named = re.findall(r"(?<![\w-])make ((?:[A-Z]+=\S+ )*)([a-z-]+)", code_in(document))
        assert {target for _, target in named} - targets == set()

    def test_readme_names_commands_and_targets(self) -> None:
        code = code_in(ROOT / "README.md")
        assert ("campaign", "start") in commands_in(code)
        assert "make demo" in code
        assert "make test" in code

    def test_every_setting_is_described(self) -> None:
        described = (ROOT / "docs" / "operations.md").read_text()
        assert [name for name in environment_variables() if f"`{name}`" not in described] == []


def environment_variables() -> Iterator[str]:
    """The environment variable of each setting."""
    from pydantic import AliasChoices

    from adapters.settings import Settings

    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        yield str(alias.choices[0]) if isinstance(alias, AliasChoices) else f"HUNTAZE_{name.upper()}"


class TestPackages:
    @pytest.mark.parametrize("name", ["domain", "activities", "workflows", "adapters", "api", "cli", "local", "worker"])
    def test_comes_from_this_repository(self, name: str) -> None:
        """Names as common as these can be shadowed by a dependency's."""
        found = importlib.import_module(name).__file__
        assert found is not None
        expected = ROOT / "worker.py" if name == "worker" else ROOT / name / "__init__.py"
        assert Path(found).resolve() == expected


class TestLocks:
    @pytest.mark.parametrize("lock", LOCKS)
    def test_every_requirement_is_pinned_and_hashed(self, lock: str) -> None:
        entries = locked(lock)
        assert entries
        assert [name for name, entry in entries.items() if "==" not in entry or "--hash=sha256:" not in entry] == []

    @pytest.mark.parametrize("lock", LOCKS)
    def test_covers_every_dependency(self, lock: str) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        extras = [entry for extra in LOCKS[lock] for entry in project["optional-dependencies"][extra]]
        wanted = {requirement_name(entry) for entry in (*project["dependencies"], *extras)} - {project["name"]}
        assert wanted - locked(lock).keys() == set()

    def test_production_and_development_agree_on_versions(self) -> None:
        production, development = locked("requirements.lock"), locked("requirements-dev.lock")
        pinned = {name: entry.split()[0] for name, entry in production.items()}
        assert {name: development[name].split()[0] for name in pinned} == pinned


class TestCommittedFiles:
    def test_none_names_an_index_or_a_place_on_one_machine(self) -> None:
        # Put together here, so that this file does not hold what it looks for.
        hosts = ("files.python" + "hosted.org", "pypi.org/" + "simple", "registry.npmjs" + ".org", "--index" + "-url ")
        places = tuple(f"/{name}/" for name in ("work", "root", "opt/pypi"))
        forbidden = re.compile("|".join([*map(re.escape, hosts), *(rf"(?<![\w.$}}~-]){re.escape(p)}" for p in places)]))
        found = [
            f"{path.relative_to(ROOT)}: {match[0]}"
            for path in committed()
            if (match := forbidden.search(path.read_text(errors="replace")))
        ]
        assert found == []

    def test_ci_entry_is_executable(self) -> None:
        assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
