"""The Kubernetes runtime: a client, views of the cluster kept by watches, the store on them, the leader's lease."""

from dbtether.runtime.kube.client import Client, ClientSettings, Sample
from dbtether.runtime.kube.connection import Connection
from dbtether.runtime.kube.errors import ApiError, KubeconfigError, NotLeader
from dbtether.runtime.kube.informer import InformerSettings
from dbtether.runtime.kube.job_objects import JobTemplate
from dbtether.runtime.kube.job_state import JobLimits
from dbtether.runtime.kube.jobs import KubeJobs, KubeJobsSettings, open_jobs
from dbtether.runtime.kube.kubeconfig import find_connection, in_cluster_connection, read_kubeconfig
from dbtether.runtime.kube.lease import Lease, LeaseSettings
from dbtether.runtime.kube.store import KubernetesStore, StoreSettings, open_store
from dbtether.runtime.kube.supervisor import Supervisor, TaskEnded

__all__ = [
    "ApiError",
    "Client",
    "ClientSettings",
    "Connection",
    "InformerSettings",
    "JobLimits",
    "JobTemplate",
    "KubeJobs",
    "KubeJobsSettings",
    "KubeconfigError",
    "KubernetesStore",
    "Lease",
    "LeaseSettings",
    "NotLeader",
    "Sample",
    "StoreSettings",
    "Supervisor",
    "TaskEnded",
    "find_connection",
    "in_cluster_connection",
    "open_jobs",
    "open_store",
    "read_kubeconfig",
]
