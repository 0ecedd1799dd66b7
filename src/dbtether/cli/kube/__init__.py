"""Commands on a Kubernetes cluster; imported only where `--kube` is given, since it needs the extra `operator`."""
