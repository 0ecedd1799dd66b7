"""The webhook as the API server asks it: its own CA, the CLI's sentences, and nothing that hangs on it."""

import base64
import json
import signal
from pathlib import Path

import pytest
from cryptography import x509
from tests.operator.asking import CONFIGURATION
from tests.operator.operating import NEVER, OWN, Ground, eventually, operating

from dbtether.api.databaseuser import DatabaseUserSpec
from dbtether.api.resource import Key
from dbtether.api.validation import validate
from dbtether.errors import InvalidSpec

pytestmark = pytest.mark.majors(18)


def test_an_invalid_spec_is_refused_at_kubectl_apply_with_the_clis_sentence(
    ground: Ground, port: int, tmp_path: Path
) -> None:
    # What the CRD's own rules let through: they do not know how long a month is.
    wanted = ground.user("bad", validUntil="2030-02-30T12:00:00Z")
    with pytest.raises(InvalidSpec) as refusal:
        validate(DatabaseUserSpec, Key("DatabaseUser", ground.team, "bad"), wanted["spec"])
    body = json.dumps(wanted)
    with operating(ground.kube, tmp_path, *NEVER, "--webhook-address", f"127.0.0.1:{port}") as operator:

        def refused() -> str:
            return ground.kube.kubectl("apply", "-n", ground.team, "-f", "-", stdin=body, check=False).stderr

        def is_asked() -> bool:
            ground.kube.request("DELETE", ground.path("DatabaseUser", "bad"))
            return "validate.dbtether.io" in refused()

        eventually(is_asked, "the API server asks the webhook")
        ground.until_gone("DatabaseUser", "bad")
        assert refusal.value.message in refused()
        ground.create_everything()
        published = ground.kube.request("GET", CONFIGURATION).body["webhooks"][0]["clientConfig"]["caBundle"]
        secret = ground.get("Secret", "dbtether-webhook-tls", OWN) or {}
        assert published == secret["data"]["ca.crt"]
        names = x509.load_pem_x509_certificate(base64.b64decode(secret["data"]["tls.crt"])).extensions
        found = names.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
        assert found == [f"dbtether-webhook.{OWN}.svc", f"dbtether-webhook.{OWN}.svc.cluster.local", "localhost"]
        # A protected Database is the policy's affair too; the webhook says it in the same words.
        ground.patch("Database", "app", {"spec": {"deletionProtection": True}})
        said = ground.kube.kubectl("delete", "database", "app", "-n", ground.team, check=False).stderr
        assert "is protected (spec.deletionProtection): annotate it with" in said
        ground.patch("Database", "app", {"spec": {"deletionProtection": False}})

        # Down: nothing is blocked, and the controller refuses what the webhook would have.
        operator.stop(signal.SIGKILL)
        ground.kube.apply(body, "-n", ground.team)
        ground.delete("DatabaseUser", "reader")
        operator.start()
        assert refusal.value.message in ground.until_blocked("DatabaseUser", "bad", "InvalidSpec")
        ground.until_gone("DatabaseUser", "reader")
        assert "the CA could not be put" not in operator.log.read_text()
        # Its finalizer goes although its spec is refused.
        ground.delete("DatabaseUser", "bad")
        ground.until_gone("DatabaseUser", "bad")
