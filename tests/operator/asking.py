"""The webhook's configuration as the chart has it, with a URL in the Service's place, and rights for its CA."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.kube.kube import Kube
from tests.kube.process import free_port
from tests.operator.operating import OWN

NAME = "dbtether"
CONFIGURATION = f"/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{NAME}"

# What the chart's role has beside the plain manifests' when the webhook has a certificate of its own.
_RIGHTS = f"""
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: dbtether-webhook-test}}
rules:
  - apiGroups: [admissionregistration.k8s.io]
    resources: [validatingwebhookconfigurations]
    resourceNames: [{NAME}]
    verbs: [get, patch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: dbtether-webhook-test}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: dbtether-webhook-test}}
subjects: [{{kind: ServiceAccount, name: dbtether, namespace: {OWN}}}]
"""


@contextmanager
def asking(installed_kube: Kube) -> Iterator[int]:
    """A port of this machine that the API server asks until the end."""
    found = free_port()
    hook = {
        "name": "validate.dbtether.io",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Ignore",
        "timeoutSeconds": 5,
        "clientConfig": {"url": f"https://localhost:{found}/validate"},
        "rules": [
            {
                "apiGroups": ["dbtether.io"],
                "apiVersions": ["v1alpha1"],
                "operations": ["CREATE", "UPDATE", "DELETE"],
                "resources": ["*"],
            }
        ],
    }
    configuration = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": NAME},
        "webhooks": [hook],
    }
    installed_kube.apply(_RIGHTS)
    installed_kube.apply(json.dumps(configuration))
    yield found
    installed_kube.request("DELETE", CONFIGURATION)
    installed_kube.kubectl("delete", "-f", "-", stdin=_RIGHTS)
    installed_kube.request("DELETE", f"/api/v1/namespaces/{OWN}/secrets/dbtether-webhook-tls")
