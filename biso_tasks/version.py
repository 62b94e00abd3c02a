"""Which version of this tool runs: what manifests and `--version` say."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

__all__ = ["tool_version"]


def tool_version() -> str:
    """The installed package's version; "unreleased" where a checkout runs by itself."""
    try:
        return version("biso-tasks")
    except PackageNotFoundError:
        return "unreleased"
