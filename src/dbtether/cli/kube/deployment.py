"""What the running operator was told, read from its Deployment where the person may: a plan must be its plan."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from dbtether.runtime.kube.client import Client
from dbtether.runtime.kube.errors import Forbidden
from dbtether.runtime.kube.requests import ApiResource, Collection

_DEPLOYMENTS = ApiResource("apps/v1", "Deployment", "deployments", True)
_VARIABLE = "DBTETHER_INSTALLATION"


@dataclass(frozen=True, slots=True)
class OperatorOptions:
    """The options that change a plan; None where the operator has its default."""

    installation: str | None = None
    credentials_namespaces: tuple[str, ...] | None = None
    """None when no Deployment was found: then it is not known."""
    watch_namespaces: tuple[str, ...] = ()
    """Whose resources are served; empty for all."""


class _Variable(msgspec.Struct):
    name: str = ""
    value: str | None = None


class _Container(msgspec.Struct):
    args: list[str] | None = None
    env: list[_Variable] | None = None


class _PodSpec(msgspec.Struct):
    containers: list[_Container] = []


class _Template(msgspec.Struct):
    spec: _PodSpec


class _Spec(msgspec.Struct):
    template: _Template


class _Deployment(msgspec.Struct):
    spec: _Spec


class _DeploymentList(msgspec.Struct):
    items: list[_Deployment] | None = None


async def operator_options(client: Client, namespace: str) -> OperatorOptions:
    """The options of the operator in that namespace; nothing known where there is none, or it may not be read."""
    collection = Collection(_DEPLOYMENTS, namespace, label_selector="app.kubernetes.io/name=dbtether")
    try:
        page = await client.send(collection.list_page(limit=None), _DeploymentList)
    except Forbidden:
        return OperatorOptions()
    for deployment in page.items or ():
        for container in deployment.spec.template.spec.containers:
            arguments = container.args or []
            if "operator" in arguments:
                variables = {one.name: one.value for one in container.env or ()}
                return OperatorOptions(
                    option_value(arguments, "--installation") or variables.get(_VARIABLE) or None,
                    _names(arguments, "--credentials-namespaces"),
                    _names(arguments, "--watch-namespaces"),
                )
    return OperatorOptions()


def _names(arguments: Sequence[str], option: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in (option_value(arguments, option) or "").split(",") if name.strip())


def option_value(arguments: Sequence[str], name: str) -> str | None:
    """The value of an option, written as `--name=value` or as two arguments; the last one counts."""
    found = None
    for index, argument in enumerate(arguments):
        if argument.startswith(f"{name}="):
            found = argument.removeprefix(f"{name}=")
        elif argument == name and index + 1 < len(arguments):
            found = arguments[index + 1]
    return found
