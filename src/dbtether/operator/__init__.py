"""The operator process: election, the engine over a Kubernetes store, and what it serves to the cluster."""
