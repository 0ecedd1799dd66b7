"""The seven CustomResourceDefinitions: names, columns, subresource, and the schema of each kind.

Every file is far below what `kubectl apply` can keep in its annotation (262,144 bytes).
"""

from typing import Any

import yaml

from dbtether.api.columns import Column
from dbtether.api.identifiers import MAX_SUBDOMAIN
from dbtether.api.kinds import GROUP, KINDS, VERSION, Kind
from dbtether.crds.identity import at_root, put_rules
from dbtether.crds.schemas import spec_schema, status_schema

CATEGORY = "dbtether"
"""`kubectl get dbtether` lists the resources of all kinds."""

_HEADER = "# Made from the models in src/dbtether/api by `make crds`. Do not edit: change the models.\n"
_KEPT_BY_HELM = {"helm.sh/resource-policy": "keep"}


def crds(*, kept_by_helm: bool = False) -> dict[str, str]:
    """The text of each CRD's file by the file's name; `kept_by_helm` ones stay when a Helm release goes."""
    return {f"{GROUP}_{kind.plural}.yaml": _text(definition(kind, kept_by_helm)) for kind in KINDS.values()}


def definition(kind: Kind, kept_by_helm: bool = False) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind."""
    metadata: dict[str, Any] = {"name": f"{kind.plural}.{GROUP}", "labels": {"app.kubernetes.io/name": "dbtether"}}
    if kept_by_helm:
        metadata["annotations"] = dict(_KEPT_BY_HELM)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata,
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.singular,
                "shortNames": [kind.short_name],
                "categories": [CATEGORY],
            },
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(column) for column in kind.columns],
                    "schema": {"openAPIV3Schema": _schema(kind)},
                }
            ],
        },
    }


def _schema(kind: Kind) -> dict[str, Any]:
    spec = spec_schema(kind.spec)
    put_rules(kind.kind, spec)
    schema: dict[str, Any] = {
        "type": "object",
        "description": spec["description"],
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"{GROUP}/{VERSION}."},
            "kind": {"type": "string", "description": f"{kind.kind}."},
            # The length is what a rule about the name is weighed by.
            "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": MAX_SUBDOMAIN}}},
            "spec": spec,
            "status": status_schema(kind.status),
        },
    }
    if rules := at_root(kind.kind):
        schema["x-kubernetes-validations"] = rules
    return schema


def _column(column: Column) -> dict[str, str]:
    """kubectl prints the name in capitals."""
    return {"name": column.header.title(), "type": column.type.value, "jsonPath": column.json_path}


class _Dumper(yaml.SafeDumper):
    """Indents lists, as Kubernetes' own files do, and writes equal values twice instead of naming them once."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(document: dict[str, Any]) -> str:
    return _HEADER + yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)
