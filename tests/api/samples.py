"""A spec of each kind with every field that can stand together, and the README's manifests."""

from collections.abc import Mapping
from typing import Any

from dbtether.api.resource import Key

_DATABASE_REF = {"name": "my-app-db", "namespace": "team-a"}
_SELECTOR = {
    "matchLabels": {"example.com/team": "a"},
    "matchExpressions": [{"key": "stage", "operator": "In", "values": ["dev", "test"]}],
}

SPECS: Mapping[str, tuple[dict[str, Any], ...]] = {
    "DBCluster": (
        {
            "endpoint": "db.example.com",
            "port": 6432,
            "database": "admin db",
            "credentialsSecretRef": {"name": "admin", "namespace": "platform"},
            "tls": {
                "mode": "verify-ca",
                "caSecretRef": {"name": "ca", "namespace": "platform", "key": "root.pem"},
                "clientCertSecretRef": {"name": "client", "namespace": "platform"},
            },
            "maxConnections": 20,
            "checkInterval": "1m30s",
            "adoptable": [{"database": "Old DB", "namespace": "a"}, {"role": "old-role", "namespace": "b"}],
            "allowedExtensions": ["postgis", "uuid-ossp"],
            "allowedNamespaces": ["team-a", "*"],
            "namespaceSelector": _SELECTOR,
            "maxPrivileges": [{"namespaces": ["team-b"], "privileges": "readwrite"}],
        },
        {"endpoint": "2001:db8::1", "credentialsFromEnv": {"username": "PG_USER", "password": "PG_PASSWORD"}},
    ),
    "Database": (
        {
            "clusterRef": {"name": "main"},
            "databaseName": "my_app",
            "extensions": ["uuid-ossp", "pg_trgm"],
            "extensionOptions": {"pg_trgm": {"version": "1.6", "schema": "ext"}},
            "dropExtensions": True,
            "schemas": [{"name": "sales", "owner": "Sales Role"}, {"name": "ext"}],
            "owner": "boss",
            "template": "template0",
            "encoding": "UTF8",
            "lcCollate": "en_US.UTF-8",
            "lcCtype": "C.UTF-8",
            "localeProvider": "icu",
            "icuLocale": "de-u-co-phonebk",
            "connectionLimit": 50,
            "settings": {"work_mem": "64MB", "jit": "off", "search_path": '"$user", public'},
            "deletionPolicy": "Delete",
            "deletionProtection": True,
            "adopt": True,
            "revokePublicConnect": False,
            "driftPolicy": "Report",
            "allowedNamespaces": ["team-b"],
        },
    ),
    "DatabaseUser": (
        {
            "databaseRef": _DATABASE_REF,
            "privileges": "readonly",
            "additionalGrants": [
                {"schema": "sales", "tables": ["orders", "Order Lines"], "privileges": ["SELECT", "TRIGGER"]}
            ],
            "username": "My.User",
            "password": {"length": 40},
            "rotation": {"days": 30, "strategy": "Overlap"},
            "connectionLimit": 5,
            "settings": {"statement_timeout": "30s", "default_transaction_read_only": "on"},
            "validUntil": "2030-01-31T12:00:00+01:00",
            "adopt": True,
            "deletionPolicy": "Retain",
            "secret": {
                "name": "login",
                "template": "custom",
                "keys": {"host": "H", "port": "P", "database": "D", "user": "U", "password": "PW"},
                "onConflict": "Merge",
                "labels": {"app": "shop"},
                "annotations": {"example.com/note": "two\nlines"},
                "extended": True,
            },
            "secretGeneration": "primary",
        },
        {"database": {**_DATABASE_REF, "privileges": "admin"}, "passwordSecretRef": {"name": "mine", "key": "pw"}},
        {"databases": [{"name": "a"}, {"name": "b", "privileges": "admin"}], "secretGeneration": "perDatabase"},
    ),
    "BackupStorage": (
        {
            "s3": {
                "bucket": "my-backups",
                "region": "eu-west-1",
                "endpoint": "https://minio.example.com:9000",
                "forcePathStyle": True,
                "kmsKeyId": "arn:aws:kms:eu-west-1:1:key/2",
            },
            "pathTemplate": "{{.ClusterName}}/{{ .Namespace }}-{{ .DatabaseName }}",
            "credentialsSecretRef": {"name": "s3", "namespace": "platform"},
            "allowedNamespaces": ["*"],
            "namespaceSelector": _SELECTOR,
            "importPrefixes": [{"prefix": "old/dumps/", "namespaces": ["team-a"]}],
        },
        {"gcs": {"bucket": "my-backups", "project": "my-project", "endpoint": "http://localhost:4443"}},
        {"azure": {"container": "backups", "storageAccount": "account1", "endpoint": "https://a.example.com"}},
        {"local": {"path": "backups/one"}},
    ),
    "Backup": (
        {
            "databaseRef": _DATABASE_REF,
            "storageRef": {"name": "s3"},
            "filenameTemplate": "{{ .Year }}/{{ .Timestamp }}-{{ .RunID }}.dump",
            "ttlAfterCompletion": "0s",
            "activeDeadline": "2h",
            "cancel": True,
        },
    ),
    "BackupSchedule": (
        {
            "databaseRef": _DATABASE_REF,
            "storageRef": {"name": "s3"},
            "schedule": "*/15 2-4 * * MON,fri",
            "timeZone": "Europe/Berlin",
            "filenameTemplate": "{{ .Timestamp }}.sql.zst",
            "retention": {"keepLast": 3, "keepDaily": 7, "keepWeekly": 4, "keepMonthly": 12},
            "suspend": True,
            "concurrencyPolicy": "Replace",
            "startingDeadline": "1h",
            "alertAfter": "26h",
            "failedHistoryLimit": 0,
            "verify": {"schedule": "@weekly", "target": {"databaseRef": {"name": "scratch"}}},
        },
    ),
    "Restore": (
        {
            "source": {"backupRef": {"name": "nightly", "namespace": "team-b"}},
            "target": {"databaseRef": {"name": "my-app-db"}},
            "onConflict": "drop",
            "ttlAfterCompletion": "10m",
            "keepReplacedFor": "48h",
            "cancel": True,
        },
        {
            "source": {"latestFrom": {"databaseRef": {"name": "db"}, "namespace": "prod"}},
            "target": {"databaseRef": {"name": "my-app-db"}},
        },
        {
            "source": {"path": "s3://bucket/main/app/1.sql.gz", "storageRef": {"name": "s3"}},
            "target": {"databaseRef": {"name": "my-app-db"}},
            "verifyOnly": True,
        },
    ),
}

CASES = [(kind, index, spec) for kind, specs in SPECS.items() for index, spec in enumerate(specs)]


def key_of(kind: str) -> Key:
    """The key that a sample of this kind is validated under."""
    return Key(kind, "" if kind in ("DBCluster", "BackupStorage") else "team-a", "sample")


README_MANIFESTS = """\
apiVersion: v1
kind: Secret
metadata:
  name: aurora-admin-credentials
  namespace: postgres-operator-system
type: Opaque
stringData:
  username: postgres
  password: your-admin-password
---
apiVersion: dbtether.io/v1alpha1
kind: DBCluster
metadata:
  name: my-aurora-cluster
spec:
  endpoint: my-cluster.cluster-xxx.eu-west-1.rds.amazonaws.com
  port: 5432
  credentialsSecretRef:
    name: aurora-admin-credentials
    namespace: postgres-operator-system
---
apiVersion: dbtether.io/v1alpha1
kind: Database
metadata:
  name: my-app-db
  namespace: default
spec:
  clusterRef:
    name: my-aurora-cluster
  databaseName: my_app
  extensions:
    - uuid-ossp
    - pg_trgm
  deletionPolicy: Retain  # or Delete
---
apiVersion: dbtether.io/v1alpha1
kind: DatabaseUser
metadata:
  name: my-app-readonly
  namespace: default
spec:
  databaseRef:
    name: my-app-db
  privileges: readonly
"""
